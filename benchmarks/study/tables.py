"""placeholder"""


def write(rows):
    pass
