//! testr's tables: a heading, a rule below it, columns as wide as their widest cell, two blanks between them.

/// Format a table; the first row is the heading. Nothing for no rows.
#[must_use]
pub fn format(rows: &[Vec<String>]) -> String {
    let Some(heading) = rows.first() else { return String::new() };
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..heading.len()).filter_map(width).collect();
    let rule = widths.iter().map(|width| "-".repeat(*width)).collect::<Vec<_>>().join("  ");
    let mut lines: Vec<String> = rows.iter().map(|row| format_row(row, &widths)).collect();
    lines.insert(1, rule);
    lines.join("\n") + "\n"
}

/// The last column is not filled up.
fn format_row(row: &[String], widths: &[usize]) -> String {
    let last = row.len().saturating_sub(1);
    let cells = row.iter().zip(widths).enumerate().map(|(n, (cell, width))| {
        let fill = if n == last { 0 } else { width - cell.chars().count() };
        format!("{cell}{}", " ".repeat(fill))
    });
    cells.collect::<Vec<_>>().join("  ")
}

#[cfg(test)]
mod tests {
    #[test]
    fn tables_are_those_of_testr() {
        let rows = [["Test id", "Runtime (s)"], ["t.ü", " 0.250"], ["t.longer", "10.000"]];
        let rows: Vec<Vec<String>> = rows.iter().map(|r| r.iter().map(|c| (*c).to_owned()).collect()).collect();
        let expected = "Test id   Runtime (s)\n--------  -----------\nt.ü        0.250\nt.longer  10.000\n";
        assert_eq!(super::format(&rows), expected);
        assert_eq!(super::format(&[]), "");
    }
}
