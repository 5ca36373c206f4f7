"""The kinds of TIFF that are read whole and damaged in the tests: what tifffile is told to write each."""

WHOLE = {
    "ImageJ": dict(imagej=True, metadata={"axes": "TCYX"}),
    "ImageJ, one page": dict(imagej=True, metadata={"axes": "TCYX"}, truncate=True),
    "OME": dict(ome=True, metadata={"axes": "TCYX"}),
    "compressed": dict(compression="zlib", metadata={"axes": "TCYX"}),
    "tiles": dict(tile=(16, 16), metadata={"axes": "TCYX"}),
    "BigTIFF, big-endian": dict(bigtiff=True, byteorder=">", metadata={"axes": "TCYX"}),
    "plain": dict(metadata=None),
}
