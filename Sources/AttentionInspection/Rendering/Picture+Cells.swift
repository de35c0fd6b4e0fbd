extension Picture {
    /// A number in a table that is a picture as well: its ground is the darker, the larger the number.
    struct Cell {
        /// The number; `nil` where there is none, such as a score that the mask hides.
        let value: Double?
        /// As it is printed.
        let text: String
        /// Its share of the darkest colour, from 0 to 1; the sign is the number's own.
        var shade = 0.0
        var role = Role.attention
        /// What it is.
        let name: String
    }

    /// A line of cells with a label in front.
    struct CellRow {
        let label: String
        let cells: [Cell?]
        /// Whether it is a sum of what stands above it.
        var isSum = false
    }

    static let cellRowHeight = 19.0

    /// Draws cells under headings.
    ///
    /// - Returns: Where what follows begins.
    mutating func cells(
        x: Double, y top: Double, labelExtent: Double, columnExtent: Double, headings: [(text: String, role: Role)],
        rows: [CellRow]
    ) -> Double {
        var y = top
        if headings.contains(where: { !$0.text.isEmpty }) {
            for (column, heading) in headings.enumerated() {
                text(
                    heading.text, x: x + labelExtent + Double(column + 1) * columnExtent - 4, y: y + 13, size: 11.5,
                    heading.role, anchor: .end, isBold: true, extent: columnExtent - 6)
            }
            y += 19
        }
        for row in rows {
            if row.isSum {
                let end = x + labelExtent + Double(headings.count) * columnExtent
                stroke(
                    "M\(Self.number(x)) \(Self.number(y + 0.5))H\(Self.number(end))", .line, width: 1)
                y += 2
            }
            text(row.label, x: x, y: y + 13.5, size: 11.5, .quiet, isBold: row.isSum, extent: labelExtent - 4)
            for (column, cell) in row.cells.enumerated() {
                guard let cell else { continue }
                let left = x + labelExtent + Double(column) * columnExtent
                let title = "\(cell.name): \(cell.text)"
                if cell.shade > 0 {
                    rectangle(
                        x: left + 1, y: y, width: columnExtent - 2, height: Self.cellRowHeight - 1, cell.role,
                        opacity: 0.05 + 0.3 * min(1, cell.shade), radius: 2)
                }
                text(
                    cell.text, x: left + columnExtent - 5, y: y + 13.5, size: 11.5, anchor: .end, isBold: row.isSum,
                    extent: columnExtent - 5, value: cell.value, title: title)
            }
            y += Self.cellRowHeight
        }
        return y
    }
}
