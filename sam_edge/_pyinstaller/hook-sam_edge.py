"""The modules behind ``sam_edge.NAME``, and the model in the box."""

from PyInstaller.utils.hooks import collect_data_files

import sam_edge

# Not the server, the command line nor what makes bundles: a program that has them imports them.
hiddenimports = sorted({f"sam_edge.{home}" for home in sam_edge._HOMES.values()})
datas = collect_data_files("sam_edge", includes=["assets/nano/*", "zoo/*.json"])
