public import PretrainedModels

extension LanguageModel {
    /// Explains what the model does at one word of a sentence, from one real forward pass.
    ///
    /// It is one question to an ``Inspection``, which answers further ones without reading the sentence again.
    ///
    /// - Parameters:
    ///   - sentence: The text; special tokens in it are plain text.
    ///   - target: The word to explain.
    ///   - options: Which layers and heads, and how far.
    ///   - willComputeEffect: Called with all but *effect* before that is computed, which takes longest; not called
    ///     where it is left out.
    /// - Returns: Figures for every word, the predictions, and the steps of one head if it was named.
    /// - Throws: `InspectionError` when the sentence, the target, the layer or the head cannot be, or the model's
    ///   numbers are not finite.
    public func explanation(
        of sentence: String, target: Target = .last, options: ExplanationOptions = ExplanationOptions(),
        willComputeEffect: (Explanation) -> Void = { _ in }
    ) throws(InspectionError) -> Explanation {
        try Inspection(of: sentence, by: self).explanation(
            target: target, options: options, willComputeEffect: willComputeEffect)
    }
}
