"""What a hand-over of a device costs: our lock service, its floor, two Redis locks, and a poller."""
