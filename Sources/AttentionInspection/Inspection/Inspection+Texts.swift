extension Inspection {
    /// Returns the words or tokens of the sentence, in order, each as it is written there.
    ///
    /// - Parameter unit: Words or tokens.
    /// - Returns: Texts; that of a token has the space in front.
    public func texts(unit: ViewState.Unit) -> [String] {
        segments(showingTokens: unit == .tokens).map(\.text)
    }
}
