internal import Attention
internal import PretrainedModels
internal import SequenceModels

/// All heads of all layers, small: what a page draws the grid from.
public struct Thumbnails: Sendable {
    /// How many layers there are.
    public let layerCount: Int
    /// How many heads each has.
    public let headCount: Int
    /// How many cells a thumbnail has in each direction; with many words a cell is the largest of several weights.
    public let size: Int
    /// `[layer][head][from][to]`, the shade of a cell from 0 to 255, on the scale that was asked for.
    public let bytes: [UInt8]
    /// `[layer][head]`, one after the other.
    public let badges: [HeadBadge]
}

extension Inspection {
    /// Returns all heads of all layers, small.
    ///
    /// - Parameters:
    ///   - unit: Words, or tokens.
    ///   - scale: What 255 stands for.
    ///   - size: How many cells a thumbnail may have in each direction, at least 1.
    /// - Returns: The shades, and what each head does.
    /// - Throws: `InspectionError` when the model has no heads, its numbers are not finite, or the task was cancelled.
    /// - Complexity: O(layers · heads · T²) time; memory for one layer.
    public func thumbnails(
        unit: ViewState.Unit = .words, scale: ViewState.Scale = .absolute, size: Int = 64
    ) throws(InspectionError) -> Thumbnails {
        let pass = try forwardPass()
        let count = segments(showingTokens: unit == .tokens).count
        let cells = min(count, max(1, size))
        var bytes: [UInt8] = []
        var badges: [HeadBadge] = []
        for layer in pass.trace.layers.indices {
            let tokens = try merged(pass, layer: layer, unit: .tokens)
            let shown = unit == .tokens ? tokens : tokens.map(wordWeights)
            for (head, matrix) in tokens.enumerated() {
                badges.append(
                    HeadBadge(
                        layer: layer, head: head, weights: matrix, ids: text.ids,
                        isCausal: pass.transformer.configuration.isCausal))
            }
            for matrix in shown {
                bytes += scale.shades(of: matrix, count: count, cellCount: cells)
            }
        }
        return Thumbnails(
            layerCount: pass.trace.layers.count, headCount: pass.transformer.configuration.headCount, size: cells,
            bytes: bytes,
            badges: badges)
    }

    func gridView(_ state: ViewState) throws(InspectionError) -> RenderedView {
        // A picture holds every cell as a mark.
        let thumbnails = try thumbnails(unit: state.unit, scale: state.scale, size: 24)
        let caption =
            "\(model.name): all \(thumbnails.layerCount) layers × \(thumbnails.headCount) heads on this sentence, from "
            + "every \(state.unit == .words ? "word" : "token") (downwards) to every other"
        var notes = [
            "A badge says what a head does on this sentence: its score and its threshold are in the table. One sentence "
                + "shows little of what a head does on others."
        ]
        let count = segments(showingTokens: state.unit == .tokens).count
        if thumbnails.size < count {
            notes.append(
                "\(count) \(state.unit.rawValue) are drawn in \(thumbnails.size) cells each way; a cell is the largest "
                    + "of its weights.")
        }
        let table = Table(
            title: caption, columns: ["layer", "head", "role", "threshold"] + HeadRole.allCases.map(\.rawValue),
            rows: thumbnails.badges.map { badge in
                let role = badge.role
                return ["\(badge.layer)", "\(badge.head)", role?.rawValue ?? "", role.map { "\($0.threshold)" } ?? ""]
                    + HeadRole.allCases.map { badge.scores[$0.rawValue].map(Numbers.cell) ?? "" }
            })
        return RenderedView(
            state: state, picture: gridPicture(thumbnails, state, caption: caption, notes: notes), table: table,
            caption: caption, notes: notes,
            data: GridData(model: model.name, sentence: sentence, unit: state.unit.rawValue, heads: thumbnails.badges))
    }
}

private struct GridData: Encodable {
    let model: String
    let sentence: String
    let unit: String
    let heads: [HeadBadge]
}

private func gridPicture(
    _ thumbnails: Thumbnails, _ state: ViewState, caption: String, notes: [String]
) -> Picture {
    var picture = Picture(width: state.width)
    let (margin, room) = (Picture.margin, picture.room)
    var y = picture.caption(caption) + 8
    let labelExtent = 30.0
    let pitch = min(120, (room - labelExtent) / Double(thumbnails.headCount))
    let extent = pitch - min(8, pitch * 0.12)
    let namesBadges = pitch >= 62
    let badgeHeight = namesBadges ? 16.0 : 12
    picture.text("head", x: margin, y: y, size: 11, .quiet)
    for head in 0..<thumbnails.headCount {
        picture.text(
            "\(head)", x: margin + labelExtent + Double(head) * pitch + extent / 2, y: y, size: 11, .quiet,
            anchor: .middle)
    }
    y += 8
    for layer in 0..<thumbnails.layerCount {
        picture.text("\(layer)", x: margin + labelExtent - 8, y: y + extent / 2 + 4, size: 11, .quiet, anchor: .end)
        for head in 0..<thumbnails.headCount {
            let index = layer * thumbnails.headCount + head
            let (badge, area) = (thumbnails.badges[index], thumbnails.size * thumbnails.size)
            let left = margin + labelExtent + Double(head) * pitch
            let place = y
            let isChosen = layer == state.layer && head == state.head
            picture.group([("class", "head"), ("data-layer", "\(layer)"), ("data-head", "\(head)")]) { picture in
                picture.rectangle(
                    x: left, y: place, width: extent, height: extent, .panel, outline: isChosen ? .query : nil,
                    title: "Layer \(layer), head \(head); \(badge.description)")
                picture.heat(
                    thumbnails.bytes[index * area..<(index + 1) * area],
                    size: thumbnails.size, x: left, y: place, extent: extent)
                guard let role = badge.role, let score = badge.score else { return }
                let text =
                    namesBadges ? "\(role.rawValue) \(Numbers.percent(score).trimmingWhiteSpace)" : role.letter
                picture.text(
                    text, x: left + extent / 2, y: place + extent + 11, size: namesBadges ? 9.5 : 9, .ink,
                    anchor: .middle, extent: pitch, value: score, title: badge.description)
            }
        }
        y += extent + badgeHeight
    }
    y += 18
    picture.text("layers run downwards, heads to the right", x: margin, y: y, size: 12, .quiet, extent: room)
    y += 18
    if !namesBadges {
        let legend = HeadRole.allCases.map { "\($0.letter) \($0.rawValue)" }.joined(separator: ", ")
        y = picture.paragraph(legend, x: margin, y: y, width: room, size: 12)
    }
    picture.notes(notes + [state.scale.legend], at: y)
    return picture
}

extension Picture {
    /// Draws shades as few marks: of each of seven shades one path, cells beside each other in one piece.
    mutating func heat(_ bytes: ArraySlice<UInt8>, size: Int, x: Double, y: Double, extent: Double) {
        let levels = 7
        var paths = [String](repeating: "", count: levels + 1)
        for row in 0..<size {
            var column = 0
            while column < size {
                let level = (Int(bytes[bytes.startIndex + row * size + column]) * levels + 127) / 255
                var end = column + 1
                while end < size,
                    (Int(bytes[bytes.startIndex + row * size + end]) * levels + 127) / 255 == level
                { end += 1 }
                if level > 0 { paths[level] += "M\(column) \(row)h\(end - column)v1h\(column - end)z" }
                column = end
            }
        }
        let scale = Self.number(1000 * extent / Double(size))
        let transform =
            "translate(\(Self.number(x)) \(Self.number(y))) scale(\(scale)) scale(0.001)"
        group([("transform", transform), ("shape-rendering", "crispEdges")]) { picture in
            for (level, path) in paths.enumerated() where !path.isEmpty {
                picture.area(path, .attention, opacity: Double(level) / Double(levels))
            }
        }
    }
}
