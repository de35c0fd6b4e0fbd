import AttentionInspection

extension Explanation.Word {
    /// *Attention*, or NaN, which equals nothing, where the model has none.
    var attentionFigure: Double { attention ?? .nan }
    /// *Contribution*, or NaN where the model has none.
    var contributionFigure: Double { contribution ?? .nan }
}
