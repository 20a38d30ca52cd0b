"""YOLO by ultralytics (paper, sections 2.3.2 and 2.3.3). Only this package imports it."""
