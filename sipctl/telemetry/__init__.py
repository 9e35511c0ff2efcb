"""What sipctl tells of itself: log lines, metrics, call records. Nothing here is ever waited for by a call or a decision."""
