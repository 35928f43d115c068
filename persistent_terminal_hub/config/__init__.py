"""What stands behind `settings`: reading, judging and printing them. Import `settings`, not this."""
