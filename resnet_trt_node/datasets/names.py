"""What files among pictures are called."""

#: The table's name where none is given: it then lies among the pictures.
TABLE_NAME = 'labels.tsv'
