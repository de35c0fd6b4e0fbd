internal import Attention
internal import PretrainedModels
internal import SequenceModels

// One head, a layer or all of them: from every word to every word, as lines or as a matrix.

extension Inspection {
    /// More words than these are drawn as shades, without a number for each.
    private static let numberedWordLimit = 64

    func headView(_ state: ViewState) throws(InspectionError) -> RenderedView {
        let pass = try forwardPass()
        let target = try target(of: state)
        var squares: [HeadData.Square] = []
        let matrix = try weights(layer: state.layer, head: state.head, unit: state.unit) { layer, heads in
            // Of one layer the heads are shown as well.
            guard state.layer != nil else { return }
            let groupSize = pass.trace.layers[layer].queries.shape[1] / pass.trace.layers[layer].keys.shape[1]
            squares = heads.enumerated().map { head, weights in
                let count = segments(showingTokens: state.unit == .tokens).count
                let row = weights[target * count..<(target + 1) * count]
                return HeadData.Square(
                    head: head, keyValueHead: head / groupSize,
                    shareBeyondFirst: target == 0 ? 0 : Double(row.dropFirst().reduce(0, +)))
            }
        }
        let scope = scope(layer: state.layer, head: state.head)
        let word = "\"\(matrix.texts[target].printable)\""
        let direction = state.direction == .outgoing ? "what \(word) attends to" : "what attends to \(word)"
        let caption = "\(model.name): attention between all \(state.unit.rawValue), \(scope); \(direction)"
        let isNumbered = matrix.count <= Self.numberedWordLimit
        let notes =
            isNumbered
            ? []
            : [
                "\(matrix.count) \(state.unit.rawValue) are drawn as shades, without lines and numbers; the table has "
                    + "those of the \(state.unit == .words ? "word" : "token") that is looked at."
            ]
        let names = matrix.texts.enumerated().map { "\($0) \($1)" }
        let table: Table
        if isNumbered {
            table = Table(
                title: caption, columns: ["attention/%, from"] + names,
                rows: matrix.texts.indices.map { from in
                    [names[from]] + matrix.texts.indices.map { Numbers.percentNumber(matrix[from, $0]) }
                })
        } else {
            table = Table(
                title: caption, columns: ["position", "text", "attends to it/%", "attended to by it/%"],
                rows: matrix.texts.indices.map { index in
                    [
                        "\(index)", matrix.texts[index], Numbers.percentNumber(matrix[index, target]),
                        Numbers.percentNumber(matrix[target, index]),
                    ]
                })
        }
        let data = HeadData(
            model: model.name, scope: scope, unit: state.unit.rawValue, target: target,
            direction: state.direction.rawValue, words: matrix.texts,
            weights: matrix.texts.indices.map { from in matrix.texts.indices.map { matrix[from, $0] } }, heads: squares)
        var view = HeadPicture(matrix, state, target: target, squares: squares, caption: caption)
        view.draw(isNumbered: isNumbered, notes: notes)
        return RenderedView(
            state: state, picture: view.picture, table: table, caption: caption, notes: notes, data: data)
    }
}

private struct HeadData: Encodable {
    /// One head of the layer, and how much it gives to words other than the first at the target.
    struct Square: Encodable {
        let head: Int
        let keyValueHead: Int
        let shareBeyondFirst: Double
    }

    let model: String
    let scope: String
    let unit: String
    let target: Int
    let direction: String
    let words: [String]
    let weights: [[Double]]
    let heads: [Square]
}

private struct HeadPicture {
    private let matrix: AttentionMatrix
    private let state: ViewState
    private let target: Int
    private let squares: [HeadData.Square]
    private(set) var picture: Picture
    private var y: Double
    private var room: Double { picture.room }

    init(_ matrix: AttentionMatrix, _ state: ViewState, target: Int, squares: [HeadData.Square], caption: String) {
        self.matrix = matrix
        self.state = state
        self.target = target
        self.squares = squares
        picture = Picture(width: state.width)
        y = picture.caption(caption)
    }

    mutating func draw(isNumbered: Bool, notes: [String]) {
        if !squares.isEmpty { headSquares() }
        if state.style == .lines && isNumbered { lines() }
        if isNumbered { numbers() } else { shades() }
        y += 14
        y = picture.notes(notes + [state.scale.legend], at: y)
    }

    /// The heads of the layer: each a square, the darker the less the head spends on the first word.
    private mutating func headSquares() {
        let side = 30.0
        let perLine = max(1, Int(room / (side + 6)))
        y =
            picture.paragraph(
                "Heads of the layer; the shade is the share that goes to other words than the first:",
                x: Picture.margin,
                y: y + 6, width: room, size: 12, .quiet) - 8
        for (index, square) in squares.enumerated() {
            let x = Picture.margin + Double(index % perLine) * (side + 6)
            let top = y + Double(index / perLine) * (side + 6)
            let isChosen = square.head == state.head
            let share = Numbers.percent(square.shareBeyondFirst).trimmingWhiteSpace
            picture.group([("class", "square"), ("data-head", "\(square.head)")]) { picture in
                picture.rectangle(
                    x: x + 1, y: top + 1, width: side - 2, height: side - 2, .panel, radius: 3,
                    outline: isChosen ? .query : .line)
                picture.rectangle(
                    x: x + 1, y: top + 1, width: side - 2, height: side - 2, .attention,
                    opacity: 0.4 * square.shareBeyondFirst, radius: 3, value: square.shareBeyondFirst,
                    title: "Head \(square.head), key-value head \(square.keyValueHead): \(share) not on the first word")
                picture.text(
                    "\(square.head)", x: x + side / 2, y: top + 19.5, size: 12, anchor: .middle, isBold: isChosen)
            }
        }
        y += Double((squares.count + perLine - 1) / perLine) * (side + 6) + 6
    }

    /// What attends on the left, what is attended to on the right; the target's lines stand out.
    private mutating func lines() {
        let column = min(170, room * 0.32)
        let (left, right) = (Picture.margin + column, Picture.margin + min(room, 620) - column)
        y = y + 16
        picture.text("from", x: left, y: y, size: 12, .query, anchor: .end)
        picture.text("to", x: right, y: y, size: 12, .key)
        let top = y + 6
        func center(_ index: Int) -> Double { top + Double(index) * 22 + 11 }
        let matrix = matrix
        let (target, direction, scale) = (target, state.direction, state.scale)
        for from in matrix.texts.indices {
            let largest = matrix.texts.indices.map { matrix[from, $0] }.max() ?? 0
            for to in matrix.texts.indices where matrix[from, to] >= 0.005 {
                let isTarget = direction == .outgoing ? from == target : to == target
                let shade = scale.shade(matrix[from, to], rowMaximum: largest)
                let path =
                    "M\(Picture.number(left + 5)) \(Picture.number(center(from)))"
                    + "L\(Picture.number(right - 5)) \(Picture.number(center(to)))"
                picture.group([
                    ("class", isTarget ? "line target" : "line"), ("data-from", "\(from)"), ("data-to", "\(to)"),
                ]) { picture in
                    picture.stroke(
                        path, isTarget ? .attention : .quiet, width: isTarget ? 1 + 4 * shade : 1.2,
                        opacity: isTarget ? 0.3 + 0.7 * shade : 0.45 * shade, value: matrix[from, to],
                        title: matrix.title(from: from, to: to))
                }
            }
        }
        for index in matrix.texts.indices {
            let isFrom = direction == .outgoing && index == target
            let isTo = direction == .incoming && index == target
            picture.group([("class", "word from"), ("data-word", "\(index)")]) { picture in
                picture.text(
                    matrix.texts[index], x: left, y: center(index) + 5, size: 13, anchor: .end, isBold: isFrom,
                    extent: column - 4)
            }
            picture.group([("class", "word to"), ("data-word", "\(index)")]) { picture in
                picture.text(
                    matrix.texts[index], x: right, y: center(index) + 5, size: 13, isBold: isTo, extent: column - 4)
            }
        }
        y = center(matrix.count) + 4
    }

    /// The matrix: rows attend, columns are attended to; numbers stand in the cells where there is room.
    private mutating func numbers() {
        let label = min(110, room * 0.28)
        // The last turned label leans over the right edge of its column.
        let cell = max(3, min(44, (room - label - 26) / Double(matrix.count)))
        let height = max(12, min(30, cell))
        let longest = matrix.texts.map { Picture.extent(of: $0.printable, size: 11) }.max() ?? 0
        y += min(60, longest) * 0.87 + 24
        let top = y
        if cell >= 9 {
            for (column, text) in matrix.texts.enumerated() {
                picture.text(
                    text, x: Picture.margin + label + (Double(column) + 0.6) * cell, y: top - 5, size: 11, .key,
                    isBold: column == target && state.direction == .incoming, isTurned: true, extent: 60)
            }
        }
        let matrix = matrix
        for from in matrix.texts.indices {
            let row = top + Double(from) * height
            let isTarget = from == target && state.direction == .outgoing
            picture.text(
                matrix.texts[from], x: Picture.margin + label - 6, y: row + height / 2 + 4, size: 11, .query,
                anchor: .end, isBold: isTarget, extent: label - 8)
            let largest = matrix.texts.indices.map { matrix[from, $0] }.max() ?? 0
            for to in matrix.texts.indices {
                let weight = matrix[from, to]
                let shade = state.scale.shade(weight, rowMaximum: largest)
                let x = Picture.margin + label + Double(to) * cell
                let isMarked = isTarget || (to == target && state.direction == .incoming)
                picture.group([("class", "cell"), ("data-from", "\(from)"), ("data-to", "\(to)")]) { picture in
                    picture.rectangle(x: x, y: row, width: cell - 1, height: height - 1, .panel)
                    picture.rectangle(
                        x: x, y: row, width: cell - 1, height: height - 1, .attention, opacity: 0.5 * shade,
                        outline: isMarked ? .query : nil, value: weight, title: matrix.title(from: from, to: to))
                    if cell >= 30 {
                        picture.text(
                            Numbers.percentNumber(weight), x: x + cell / 2, y: row + height / 2 + 4, size: 10.5,
                            weight == 0 ? .quiet : .ink, anchor: .middle)
                    }
                }
            }
        }
        y = top + Double(matrix.count) * height + 8
        if cell >= 30 {
            picture.text("numbers are per cent", x: Picture.margin + label, y: y + 10, size: 11, .quiet)
            y += 16
        }
    }

    /// The matrix of many words: a cell is the largest of several weights.
    private mutating func shades() {
        let size = min(matrix.count, 128)
        let bytes = state.scale.shades(of: matrix.weights, count: matrix.count, cellCount: size)
        let side = min(room, 900)
        y += 8
        picture.rectangle(x: Picture.margin, y: y, width: side, height: side, .panel)
        picture.heat(bytes[...], size: size, x: Picture.margin, y: y, extent: side)
        y += side + 8
    }
}

extension AttentionMatrix {
    /// What one weight is, for whoever points at it.
    fileprivate func title(from: Int, to: Int) -> String {
        "\(texts[from].printable) → \(texts[to].printable): \(Numbers.percent(self[from, to]).trimmingWhiteSpace)"
    }
}
