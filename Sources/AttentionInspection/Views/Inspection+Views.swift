extension Inspection {
    /// Draws what a state asks for.
    ///
    /// - Parameter state: What is looked at; its sentence and its model are those of the inspection.
    /// - Returns: The view as a picture, a table and data.
    /// - Throws: `InspectionError` when the target, the layer or the head cannot be, a view needs a head and none is
    ///   named, or the model's numbers are not finite.
    public func render(_ state: ViewState) throws(InspectionError) -> RenderedView {
        var state = state
        state.sentence = sentence
        try state.check()
        try check(state.options)
        switch state.view {
        case .word: return try wordView(state)
        case .grid: return try gridView(state)
        case .steps: return try stepsView(state)
        case .head: return try headView(state)
        case .similarity: return try similarityView(state)
        }
    }
    /// The position of the word or token that is looked at.
    func target(of state: ViewState) throws(InspectionError) -> Int {
        try position(of: state.target.map { .position($0) } ?? .last, unit: state.unit)
    }

    /// The steps of the one head that a view is of.
    func steps(_ state: ViewState) throws(InspectionError) -> AttentionSteps {
        guard let layer = state.layer, let head = state.head else { throw .viewNeedsHead(view: state.view.rawValue) }
        return try steps(
            target: try target(of: state), layer: layer, head: head, showsTokens: state.unit == .tokens)
    }
}

extension ViewState.Scale {
    /// Returns the shades of a matrix, from 0 to 255, in fewer cells: a cell is the largest of several weights.
    ///
    /// - Parameters:
    ///   - weights: `[from][to]`, `count` each way.
    ///   - count: How many words there are.
    ///   - cellCount: How many cells there are each way, at most `count`.
    /// - Returns: `[from][to]`, `cellCount` each way.
    func shades(of weights: [Float], count: Int, cellCount: Int) -> [UInt8] {
        var shades = [UInt8](repeating: 0, count: cellCount * cellCount)
        for from in 0..<count {
            let row = weights[from * count..<(from + 1) * count]
            let largest = Double(row.max() ?? 0)
            for (to, weight) in row.enumerated() {
                let shade = UInt8((255 * shade(Double(weight), rowMaximum: largest)).rounded())
                let cell = from * cellCount / count * cellCount + to * cellCount / count
                shades[cell] = max(shades[cell], shade)
            }
        }
        return shades
    }
}
