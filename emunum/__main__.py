"""python -m emunum"""

from emunum_cli import main

main(prog_name="emunum")
