//! subunit v1, the text in which testr keeps runs: `.testrepository/N` and `failing`.
