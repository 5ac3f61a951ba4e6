"""The local page of `invdesign app`: compose a query, watch, stop and resume its run, compare what it found.

Every run is a process of its own (`invdesign design`, `resume`, `feedback`) in a folder of its own; what the pages
show is read from these folders, so that nothing is lost when a page or the app itself is closed.
"""
