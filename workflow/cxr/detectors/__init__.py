"""Detectors of findings: YOLO, YOLOv2, torchvision's, the grid CNN."""
