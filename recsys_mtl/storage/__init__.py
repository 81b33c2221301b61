"""Where files are: a disk, or a store that a URI names (`s3://bucket/rows`).

location.py     from a text to a `Location`: a `pathlib.Path`, or a `RemotePath`
remote_path.py  `RemotePath`: the part of `pathlib.Path` that the code uses, for objects
filesystem.py   from a scheme to pyarrow's file system, with bounded waits
"""
