"""One reader per file format: bytes or text in; crystals, failures and the columns that stood beside them out.

Every reader yields `invdesign.data.items.Item` records; a file that cannot be taken apart at all raises
`StructureReadError`."""
