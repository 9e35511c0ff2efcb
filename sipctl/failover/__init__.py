"""Where a group's new calls go: tenant judgement, the group machine and its guards; pure, each decision a record that replays."""
