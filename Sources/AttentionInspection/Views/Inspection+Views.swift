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
}
