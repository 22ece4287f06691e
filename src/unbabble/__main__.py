"""``python -m unbabble``"""

from unbabble.cli import main

main()
