"""Pictures for papers: accuracy (`plots`) and the page's other figures (`figure_files`).

It imports neither: the page takes its colours from `plots`, and `figure_files` draws the page's data.
"""
