"""Formats of other programs: which package reads each into an array, and the way through Fiji."""

from pathlib import Path

# Suffix: what it is, the package to install, and what reads the file at `path` with it.
READERS = {
    ".czi": ("Zeiss CZI", "czifile", "czifile.imread(path)"),
    ".nd2": ("Nikon ND2", "nd2", "nd2.imread(path)"),
    ".lif": ("Leica LIF", "liffile", "liffile.imread(path)"),
    ".oib": ("Olympus OIB", "oiffile", "oiffile.imread(path)"),
    ".oif": ("Olympus OIF", "oiffile", "oiffile.imread(path)"),
    ".vsi": ("Olympus VSI", "slideio", "slideio.open_slide(path, 'VSI').get_scene(0).read_block()"),
    ".mrc": ("MRC", "mrcfile", "mrcfile.read(path)"),
    ".dm3": ("Gatan DM3", "ncempy", "ncempy.io.dm.dmReader(path)['data']"),
    ".dm4": ("Gatan DM4", "ncempy", "ncempy.io.dm.dmReader(path)['data']"),
    ".dcm": ("DICOM", "pydicom", "pydicom.dcmread(path).pixel_array"),
    ".ims": ("Imaris", "h5py", "h5py.File(path)['DataSet/ResolutionLevel 0/TimePoint 0/Channel 0/Data'][:]"),
    ".zarr": ("Zarr", "zarr", "zarr.open(path)['0'][:]"),
    ".h5": ("HDF5", "h5py", "h5py.File(path)[name][:]"),
    ".hdf5": ("HDF5", "h5py", "h5py.File(path)[name][:]"),
    ".fits": ("FITS", "astropy", "astropy.io.fits.getdata(path)"),
    ".fit": ("FITS", "astropy", "astropy.io.fits.getdata(path)"),
    ".avi": ("a film", "imageio[pyav]", "imageio.v3.imread(path, plugin='pyav')"),
    ".mp4": ("a film", "imageio[pyav]", "imageio.v3.imread(path, plugin='pyav')"),
    ".npy": ("a NumPy array", "numpy", "numpy.load(path)"),
}


def refuse_other_formats(path):
    """Raise ValueError, with what reads it, for a file or folder whose name says that it is of another program."""
    path = Path(path)
    if path.suffix.lower() not in READERS:
        return
    what, package, read = READERS[path.suffix.lower()]
    raise ValueError(
        f"{path.name} is {what}, which n2vlib does not read: pip install {package}, and hand on the array "
        f"{read}; or open it in Fiji (Bio-Formats) and save it as OME-TIFF"
    )
