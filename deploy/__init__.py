"""What deploys YiVideo; the Python in here makes and checks it, and nothing of it runs in an installation."""
