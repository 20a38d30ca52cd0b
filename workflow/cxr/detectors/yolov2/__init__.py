"""YOLOv2 (Redmon and Farhadi 2017), the paper's own detector (sections 2.3.2 and 2.3.3): network, loss, Darknet's files."""
