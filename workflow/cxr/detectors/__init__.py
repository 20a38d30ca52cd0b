"""Detectors of findings: YOLO, torchvision's, the grid CNN."""
