"""What reinforced data cost, measured beside their peers."""
