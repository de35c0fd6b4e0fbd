internal import Attention
internal import SequenceModels

// One head at one word, from its query to what it adds to the residual stream, number by number.

extension Inspection {
    func stepsView(_ state: ViewState) throws(InspectionError) -> RenderedView {
        let steps = try steps(state)
        guard steps.isFinite else { throw .notFinite(place: "layer \(steps.layer), head \(steps.head)") }
        let view = StepsPicture(steps, state)
        return RenderedView(
            state: state, picture: view.picture, table: view.table, caption: steps.caption, notes: view.notes,
            data: steps)
    }
}

extension AttentionSteps {
    fileprivate var caption: String {
        "Layer \(layer), head \(head): every step at \"\(queryText.printable.trimmingWhiteSpace)\" "
            + "(token \(queryPosition))"
    }

    fileprivate var isFinite: Bool {
        projectedOutput.allSatisfy(\.isFinite) && keys.allSatisfy { $0.dotProduct.isFinite && $0.weight.isFinite }
    }
}

/// The ladder as a picture.
///
/// Vectors run downwards, a component a line; tokens stand side by side.
///
/// Where a vector has more components, or the sentence more tokens, than are shown, what the others add up to is a number of
/// its own, so that what is shown always recombines to what follows.
private struct StepsPicture {
    private static let labelExtent = 62.0
    /// How many components are shown at a time.
    static let componentCount = 16

    private let steps: AttentionSteps
    private let components: Range<Int>
    /// The tokens that have columns, in the sentence's order.
    private let shown: [AttentionSteps.Key]
    private let columnExtent: Double
    private(set) var picture: Picture
    private(set) var table: Table
    private(set) var notes: [String] = []
    private var y = 0.0

    init(_ steps: AttentionSteps, _ state: ViewState) {
        self.steps = steps
        let dimension = steps.query.count
        let first = min(state.component, max(0, dimension - 1)) / Self.componentCount * Self.componentCount
        components = first..<min(dimension, first + Self.componentCount)
        picture = Picture(width: state.width)
        let room = picture.room - Self.labelExtent
        // The query, and what the others and all add up to, take three columns.
        let columns = max(4, Int(room / 66))
        let visible = steps.keys.filter { $0.position <= steps.queryPosition || $0.masked != nil }
        let heaviest = visible.sorted { ($1.weight, $0.position) < ($0.weight, $1.position) }.prefix(columns - 2)
        shown = heaviest.sorted { $0.position < $1.position }
        columnExtent = min(96, room / Double(shown.count + 2))
        table = Table(title: steps.caption, columns: ["step", "token", "component", "value"], rows: [])

        y = picture.caption(steps.caption)
        introduction()
        query()
        keys()
        products()
        weights()
        values()
        output()
        picture.grow(to: y)
    }

    // MARK: - The parts

    private mutating func introduction() {
        let sharing = steps.headsSharingKeys.map(String.init).joined(separator: ", ")
        say(
            steps.headsSharingKeys.count > 1
                ? "Key-value head \(steps.keyValueHead) serves query heads \(sharing): they share its keys and values."
                : "Key-value head \(steps.keyValueHead) serves this query head alone.")
        let hidden = steps.keys.count { $0.masked == nil }
        if hidden > 0 {
            say("The mask hides \(hidden) of \(steps.keys.count) tokens from this query: their weight is 0.")
        }
        let others = steps.keys.count - hidden - shown.count
        if others > 0 {
            let weight = self.others(of: \.weight)
            notes.append(
                "\(others) tokens have no column of their own, the least attended ones; together they have a weight of "
                    + "\(Numbers.cell(weight)).")
        }
        if components.count < steps.query.count {
            notes.append(
                "Components \(components.lowerBound) to \(components.upperBound - 1) of \(steps.query.count) are shown; "
                    + "what the others add up to is a line of its own.")
        }
        for note in notes { say(note) }
    }

    private mutating func query() {
        heading("1. The query q", .query)
        let role = Picture.Role.query
        let columns: [(String, [Float])] =
            steps.isRotated
            ? [("q before", steps.queryBeforeRotation), ("q rotated", steps.query)] : [("q", steps.query)]
        if steps.isRotated {
            say("Its position, \(steps.queryPosition), turns it: pairs of components are rotated, the length stays.")
        }
        vectors(columns.map { ($0.0, role, $0.1.map(Double.init)) }, step: "q", role)
    }

    private mutating func keys() {
        heading("2. The keys k", .key)
        let role = Picture.Role.key
        if steps.isRotated {
            say("Before their positions turn them:")
            vectors(
                shown.map { (name($0), role, $0.keyBeforeRotation.map(Double.init)) }, step: "k before rotation", role)
            say("As they are compared:")
        }
        vectors(shown.map { (name($0), role, $0.key.map(Double.init)) }, step: "k", role)
    }

    private mutating func products() {
        guard steps.similarity.hasSuffix("dot") else {
            heading("3. Similarity", .attention)
            say("The measure is \(steps.similarity): its numbers are in the next step.")
            return
        }
        heading("3. q·k, component by component", .attention)
        let columns = shown.map { key in
            (name(key), Picture.Role.attention, zip(steps.query, key.key).map { Double($0) * Double($1) })
        }
        vectors(columns, step: "q×k", .attention, sum: "q·k", totals: shown.map(\.dotProduct))
    }

    private mutating func weights() {
        heading("4. From similarity to weight", .attention)
        let isBiased = steps.keys.contains { $0.masked != nil && $0.masked != $0.scaled }
        let scale = Numbers.exact(steps.scale).trimmingWhiteSpace
        let largest = steps.keys.compactMap(\.masked).max() ?? 0
        say(
            "× \(scale), \(isBiased ? "bias and mask" : "mask"), then e^(score − \(Numbers.cell(largest))) as a share of "
                + "its sum.")
        let sum = steps.keys.reduce(0) { $0 + ($1.masked.map { .exp($0 - largest) } ?? 0) }
        let names = [
            steps.similarity.hasSuffix("dot") ? "q·k" : "similarity", "× scale", isBiased ? "biased" : "masked", "e^…",
            "softmax α",
        ]
        var rows: [Picture.CellRow] = []
        for key in shownAndHidden {
            let exponential = key.masked.map { Double.exp($0 - largest) } ?? 0
            let numbers: [Double?] = [key.dotProduct, key.scaled, key.masked, exponential, key.weight]
            rows.append(
                Picture.CellRow(
                    label: name(key),
                    cells: zip(names, numbers).map { name, number in
                        let isWeight = name == "softmax α"
                        return cell(
                            number, step: name, token: key, component: nil, shade: isWeight ? number ?? 0 : 0)
                    }))
        }
        let others = steps.keys.count - shownAndHidden.count
        if others > 0 {
            let weight = self.others(of: \.weight)
            let rest = self.others(of: { $0.masked.map { .exp($0 - largest) } ?? 0 })
            rows.append(
                Picture.CellRow(
                    label: "\(others) others",
                    cells: [
                        nil, nil, nil, cell(rest, step: "e^…", token: nil, component: "others"),
                        cell(weight, step: "softmax α", token: nil, component: "others"),
                    ]))
        }
        rows.append(
            Picture.CellRow(
                label: "Σ",
                cells: [
                    nil, nil, nil, cell(sum, step: "e^…", token: nil, component: "Σ"),
                    cell(
                        steps.keys.reduce(0) { $0 + $1.weight }, step: "softmax α", token: nil, component: "Σ"),
                ], isSum: true))
        let room = picture.room
        let label = min(110, room * 0.22)
        y = picture.cells(
            x: Picture.margin, y: y, labelExtent: label, columnExtent: min(96, (room - label) / 5),
            headings: names.map { ($0, .attention) }, rows: rows)
    }

    private mutating func values() {
        heading("5. The values v", .value)
        vectors(shown.map { (name($0), .value, $0.value.map(Double.init)) }, step: "v", .value)
        heading("6. The average of the values: α·v, and its sum", .value)
        var columns: [(String, Picture.Role, [Double])] = shown.map { key in
            (name(key), .value, key.value.map { key.weight * Double($0) })
        }
        let restCount = steps.keys.count { key in key.masked != nil } - shown.count
        if restCount > 0 {
            let rest = steps.output.indices.map { component in
                others(of: { $0.weight * Double($0.value[component]) })
            }
            columns.append(("\(restCount) others", .value, rest))
        }
        columns.append(("Σ output", .value, steps.output.map(Double.init)))
        vectors(columns, step: "α·v", .value)
    }

    private mutating func output() {
        heading("7. What the head adds: its output times its part of W_O", .value)
        let projected = steps.projectedOutput.map(Double.init)
        let norm = Numbers.norm(steps.projectedOutput).trimmingWhiteSpace
        let largest = projected.indices.max { abs(projected[$0]) < abs(projected[$1]) } ?? 0
        say(
            "A vector of \(projected.count) components, of norm \(norm), is added to the residual stream. Its largest "
                + "component, \(largest), is the sum over the head's output times line \(largest) of W_O:")
        let row = steps.outputWeights(ofComponent: largest).map(Double.init)
        let output = steps.output.map(Double.init)
        let products = zip(output, row).map { $0 * $1 }
        vectors(
            [("output", .value, output), ("W_O", .ink, row), ("product", .value, products)], step: "W_O", .value,
            sum: "component \(largest)", totals: [nil, nil, projected[largest]], summed: [2])
    }

    // MARK: - Cells

    /// Draws vectors side by side, a component a line, and their sums where they are asked for.
    private mutating func vectors(
        _ columns: [(name: String, role: Picture.Role, numbers: [Double])], step: String, _ role: Picture.Role,
        sum: String? = nil, totals: [Double?] = [], summed: [Int]? = nil
    ) {
        let largest = columns.flatMap { $0.numbers[components].map(abs) }.max() ?? 0
        var rows = components.map { component in
            Picture.CellRow(
                label: "\(component)",
                cells: columns.map { column in
                    let number = column.numbers[component]
                    return cell(
                        number, step: step, name: column.name, component: "\(component)",
                        shade: largest > 0 ? abs(number) / largest : 0, role: role)
                })
        }
        if let sum {
            let isSummed = { (column: Int) in summed?.contains(column) ?? true }
            let partial = columns.map { $0.numbers[components].reduce(0, +) }
            let all = columns.map { $0.numbers.reduce(0, +) }
            func row(_ label: String, _ numbers: [Double?], isSum: Bool) -> Picture.CellRow {
                Picture.CellRow(
                    label: label,
                    cells: columns.indices.map { column in
                        guard isSummed(column), let number = numbers[column] else { return nil }
                        return cell(number, step: step, name: columns[column].name, component: label)
                    }, isSum: isSum)
            }
            let count = steps.query.count - components.count
            rows.append(row(count > 0 ? "Σ shown" : "Σ", partial, isSum: true))
            if count > 0 { rows.append(row("Σ others", zip(all, partial).map { $0 - $1 }, isSum: false)) }
            rows.append(row(sum, totals, isSum: count > 0))
        }
        y = picture.cells(
            x: Picture.margin, y: y,
            labelExtent: sum.map { $0.count > 8 ? 110.0 : Self.labelExtent } ?? Self.labelExtent,
            columnExtent: min(columnExtent, 96), headings: columns.map { ($0.name, $0.role) }, rows: rows)
    }

    private mutating func cell(
        _ number: Double?, step: String, token: AttentionSteps.Key?, component: String?, shade: Double = 0
    ) -> Picture.Cell {
        cell(number, step: step, name: token.map(name) ?? "", component: component ?? "", shade: shade)
    }

    private mutating func cell(
        _ number: Double?, step: String, name: String, component: String, shade: Double = 0,
        role: Picture.Role = .attention
    ) -> Picture.Cell {
        let text = number.map(Numbers.cell) ?? "−∞"
        table.rows.append([step, name, component, text])
        let parts = [step, name, component].filter { !$0.isEmpty }
        return Picture.Cell(
            value: number, text: text, shade: shade, role: role, name: parts.joined(separator: ", "))
    }

    /// The tokens with columns, and those right after them that the mask hides, as far as there are few.
    private var shownAndHidden: [AttentionSteps.Key] {
        let hidden = steps.keys.filter { $0.masked == nil }
        return shown + (hidden.count <= 8 ? hidden : [])
    }

    /// The sum of a figure over the tokens without a column.
    private func others(of figure: (AttentionSteps.Key) -> Double) -> Double {
        let positions = Set(shown.map(\.position))
        return steps.keys.reduce(0) { positions.contains($1.position) ? $0 : $0 + figure($1) }
    }

    private func name(_ key: AttentionSteps.Key) -> String {
        "\(key.position) \(key.text.printable.trimmingWhiteSpace)"
    }

    private mutating func heading(_ text: String, _ role: Picture.Role) {
        y = picture.paragraph(
            text, x: Picture.margin, y: y + 26, width: picture.room, size: 14, role, isBold: true)
        y -= 8
    }

    private mutating func say(_ text: String) {
        y =
            picture.paragraph(
                text, x: Picture.margin, y: y + 18, width: picture.room, size: 12.5, .quiet) - 12
    }
}
