"""What other systems hold, read into numbers, entry points and SBC pairs: pure, one module for each system.

Nothing is dropped silently: whatever cannot be said in a plan is a note with its line.
"""
