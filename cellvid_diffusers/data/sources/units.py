"""Units of length and time as spelled in microscope files."""

MICROMETRES = {"nm": 1e-3, "nanometer": 1e-3, "µm": 1.0, "um": 1.0, "micron": 1.0, "microns": 1.0, "micrometer": 1.0}
MICROMETRES |= {"μm": 1.0, "micrometre": 1.0, "mm": 1e3, "millimeter": 1e3, "cm": 1e4}  # also with the Greek letter
MINUTES = {
    name: minutes
    for minutes, names in (
        (1 / 60_000_000, "µs us usec microsecond microseconds"),
        (1 / 60_000, "ms msec millisecond milliseconds"),
        (1 / 60, "s sec secs second seconds"),
        (1.0, "min mins minute minutes"),
        (60.0, "h hr hrs hour hours"),
        (1440.0, "d day days"),
    )
    for name in names.split()
}
