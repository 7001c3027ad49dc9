"""The differential test: real testr and regatta, side by side. See ../differential."""
