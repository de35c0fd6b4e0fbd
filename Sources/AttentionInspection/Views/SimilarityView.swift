internal import Attention
internal import PretrainedModels
internal import SequenceModels

// The same query and keys under every measure of similarity: what each would attend to.

extension Inspection {
    func similarityView(_ state: ViewState) throws(InspectionError) -> RenderedView {
        let steps = try steps(state)
        let comparison = SimilarityComparison(
            model: model.name, layer: steps.layer, head: steps.head, queryPosition: steps.queryPosition,
            queryText: steps.queryText, query: steps.query,
            keys: steps.keys.map { key in
                SimilarityComparison.Key(
                    position: key.position, text: key.text, key: key.key,
                    // What the model adds to its own scores, and hides, stays as it is.
                    bias: key.masked.map { $0 - key.scaled })
            }, modelSimilarity: steps.similarity)
        guard comparison.measures.allSatisfy({ $0.scores.allSatisfy(\.isFinite) }) else {
            throw .notFinite(place: "layer \(steps.layer), head \(steps.head)")
        }
        return comparison.view(state)
    }
}

/// One query and its keys, compared in every way that there is.
struct SimilarityComparison: Encodable {
    /// What the query is compared with.
    struct Key: Encodable {
        let position: Int
        let text: String
        let key: [Float]
        /// What is added to the score; `nil` hides the key.
        let bias: Double?
    }

    /// One way to compare.
    struct Measure: Encodable {
        let similarity: String
        let formula: String
        /// Before bias and mask, one per key.
        let scores: [Double]
        /// The softmax of the scores.
        let weights: [Double]
    }

    let model: String
    let layer: Int
    let head: Int
    let queryPosition: Int
    let queryText: String
    let query: [Float]
    let keys: [Key]
    let modelSimilarity: String
    let measures: [Measure]

    init(
        model: String, layer: Int, head: Int, queryPosition: Int, queryText: String, query: [Float], keys: [Key],
        modelSimilarity: String
    ) {
        self.model = model
        self.layer = layer
        self.head = head
        self.queryPosition = queryPosition
        self.queryText = queryText
        self.query = query
        self.keys = keys
        self.modelSimilarity = modelSimilarity
        let query64 = query.map(Double.init)
        measures = SimilarityKind.allCases.map { kind in
            let measure = kind.plainMeasure(dimension: query.count)
            let scores = keys.map { key in
                let key64 = key.key.map(Double.init)
                return measure.score(query: query64.span, key: key64.span)
            }
            let masked = zip(scores, keys).map { score, key in key.bias.map { score + $0 } ?? -.infinity }
            let largest = masked.max() ?? 0
            let exponentials = masked.map { largest == -.infinity ? 0 : Double.exp($0 - largest) }
            let sum = exponentials.reduce(0, +)
            return Measure(
                similarity: kind.rawValue, formula: kind.formula, scores: scores,
                weights: exponentials.map { sum > 0 ? $0 / sum : 0 })
        }
    }

    fileprivate func view(_ state: ViewState) -> RenderedView {
        let name = queryText.printable.trimmingWhiteSpace
        let caption =
            "Layer \(layer), head \(head): the query of \"\(name)\" (token \(queryPosition)) and its keys under every "
            + "measure of similarity"
        let notes = [
            "The model was trained with \(modelSimilarity); the others show what its vectors would give, not what a model "
                + "trained with them would do. They have no learned weights here: general takes W = 1/√D, additive W_q = "
                + "W_k = 1 and v = 1/√D, linear-additive w_q = w_k = 1/√D, the cosine a temperature of 0.1, and distances "
                + "the bandwidths that models are trained with."
        ]
        var picture = Picture(width: state.width)
        let (margin, room) = (Picture.margin, picture.room)
        var y = picture.caption(caption)
        let chosen = state.similarity?.rawValue ?? modelSimilarity
        let label = min(120, room * 0.26)
        let perBlock = max(1, min(measures.count, Int((room - label) / 84)))
        let column = (room - label) / Double(perBlock)
        // The tokens that some measure attends to most, in the sentence's order.
        let visible = keys.indices.filter { keys[$0].bias != nil }
        let heaviest = visible.sorted { left, right in
            let weights = (largestWeight(left), largestWeight(right))
            return weights.0 == weights.1 ? left < right : weights.0 > weights.1
        }.prefix(48)
        let rows = heaviest.sorted()
        for (title, isWeights) in [("Weights α, per cent", true), ("Scores before the softmax", false)] {
            y = picture.paragraph(title, x: margin, y: y + 24, width: room, size: 14, .attention, isBold: true) - 8
            for first in stride(from: 0, to: measures.count, by: perBlock) {
                let block = measures[first..<min(measures.count, first + perBlock)]
                y = picture.cells(
                    x: margin, y: y + 4, labelExtent: label, columnExtent: column,
                    headings: block.map { ($0.similarity, $0.similarity == chosen ? .query : .attention) },
                    rows: rows.map { index in
                        Picture.CellRow(
                            label: "\(keys[index].position) \(keys[index].text.printable.trimmingWhiteSpace)",
                            cells: block.map { measure in
                                let number = isWeights ? measure.weights[index] : measure.scores[index]
                                return Picture.Cell(
                                    value: number,
                                    text: isWeights ? Numbers.percentNumber(number) : Numbers.cell(number),
                                    shade: isWeights ? number : 0,
                                    role: measure.similarity == chosen ? .query : .attention,
                                    name: "\(measure.similarity), \(keys[index].text.printable)")
                            })
                    })
            }
        }
        y += 20
        for measure in measures {
            y = picture.paragraph(
                "\(measure.similarity): \(measure.formula)", x: margin, y: y, width: room, size: 12,
                measure.similarity == chosen ? .query : .ink, isBold: measure.similarity == chosen)
        }
        y += 4
        var said = notes
        if rows.count < visible.count { said.append("\(visible.count - rows.count) tokens are not shown.") }
        picture.notes(said, at: y)
        let table = Table(
            title: caption,
            columns: ["position", "token"]
                + measures.flatMap { ["\($0.similarity) score", "\($0.similarity) weight/%"] },
            rows: visible.map { index in
                ["\(keys[index].position)", keys[index].text]
                    + measures.flatMap {
                        [Numbers.cell($0.scores[index]), Numbers.percentNumber($0.weights[index])]
                    }
            })
        return RenderedView(
            state: state, picture: picture, table: table, caption: caption, notes: said, data: self)
    }

    private func largestWeight(_ key: Int) -> Double { measures.map { $0.weights[key] }.max() ?? 0 }
}

extension SimilarityKind {
    /// The measure as a model begins with it, or, where that would be random, with weights that favour no component.
    fileprivate func plainMeasure(dimension: Int) -> any Similarity {
        let root = Float(max(1, dimension)).squareRoot()
        let even = Tensor([Float](repeating: 1 / root, count: dimension), shape: [dimension])
        switch self {
        case .additive:
            var identity = [Float](repeating: 0, count: dimension * dimension)
            for index in 0..<dimension { identity[index * (dimension + 1)] = 1 }
            let matrix = Tensor(identity, shape: [dimension, dimension])
            return Additive(queryWeight: matrix, keyWeight: matrix, scoreWeight: even)
        case .linearAdditive: return LinearAdditive(queryWeight: even, keyWeight: even)
        case .scaledDot, .dot, .general, .cosine, .euclidean, .gaussian, .laplacian:
            // None of these draws random numbers.
            var random = RandomStream(seed: 0)
            return LearnedSimilarity(self, queryDimension: dimension, random: &random).measure(dimension: dimension)
        }
    }

    /// The measure with its parameters as they are here.
    fileprivate var formula: String {
        switch self {
        case .scaledDot: "q·k / √D"
        case .dot: "q·k"
        case .general: "qᵀ W k with W = 1/√D: the scaled dot product, until W is learned"
        case .additive: "Σ tanh(q + k) / √D"
        case .linearAdditive: "Σ (q + k) / √D"
        case .cosine: "q·k / (‖q‖ ‖k‖ · 0.1)"
        case .euclidean: "−‖q − k‖² / √D"
        case .gaussian: "−‖q − k‖² / (2σ²) with σ = ⁴√D"
        case .laplacian: "−‖q − k‖₁ / √D"
        }
    }
}
