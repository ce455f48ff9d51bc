"""python -m emunum_cli"""

from emunum_cli import main

main(prog_name="emunum")
