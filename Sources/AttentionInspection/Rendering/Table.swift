/// The numbers behind a picture, as they are printed: for readers who do not see it, for CSV and for terminals.
public struct Table: Sendable, Hashable {
    /// What it shows.
    public var title: String
    /// The columns' names, with their units.
    public var columns: [String]
    /// Each row's cells, as many as there are columns; what has no value is empty.
    public var rows: [[String]]

    /// The table as CSV by RFC 4180: UTF-8, a row of names, lines ended by CR and LF.
    public var csv: String {
        ([columns] + rows).map { row in
            row.map { cell in
                let isPlain = !cell.unicodeScalars.contains { "\",\r\n".unicodeScalars.contains($0) }
                return isPlain ? cell : "\"\(cell.replacing("\"", with: "\"\""))\""
            }.joined(separator: ",") + "\r\n"
        }.joined()
    }

    /// Returns the table for a terminal: a line per row, columns as wide as what is in them.
    ///
    /// - Parameter style: Whether to use escape sequences.
    /// - Returns: Lines, each ended.
    public func text(style: TextStyle = .plain) -> String {
        let cells = ([columns] + rows).map { $0.map(\.printable) }
        let widths = columns.indices.map { column in
            min(40, cells.map { $0[column].displayWidth }.max() ?? 0)
        }
        let numeric = columns.indices.map { column in
            rows.allSatisfy { $0[column].isEmpty || Double($0[column].prefix { $0 != " " }) != nil }
        }
        let lines = cells.map { row in
            let line = row.indices.map { column in
                let cell = row[column]
                let gap = String(repeating: " ", count: max(0, widths[column] - cell.displayWidth))
                return numeric[column] ? gap + cell : cell.padded(to: widths[column])
            }.joined(separator: "  ")
            return line.replacing(#/ +$/#, with: "")
        }
        return ([style.bold(title), style.dim(lines[0])] + lines.dropFirst()).joined(separator: "\n") + "\n"
    }
}
