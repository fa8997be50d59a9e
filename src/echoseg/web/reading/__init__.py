"""READING. A clip as a reader corrects it: contours, edits with history, versions, signatures.

Edits are rows that are only ever added; every number comes from `measure`, `quality` and
`inference`, of the masks as they are after the edit that is shown.
"""
