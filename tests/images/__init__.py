"""The images and deploy/compose.yaml: built, looked through, started as they will be started, and asked for a real task."""
