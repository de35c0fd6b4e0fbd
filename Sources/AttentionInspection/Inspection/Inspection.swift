internal import Attention
internal import ModelFiles
public import PretrainedModels
internal import SequenceModels
internal import Synchronization

/// One sentence as a model reads it, to be asked about any word, layer and head.
///
/// The sentence goes through the model once, when the first question needs it. Queries, keys and values of all layers are
/// kept from then on, and so is each word's *effect* once it was asked for. Any number of threads may ask at once.
public final class Inspection: Sendable {
    /// The sentence.
    public let sentence: String
    /// Which model reads it.
    public let model: LanguageModel
    let text: TokenizedText
    /// The model with products in float32, if it is a Transformer.
    ///
    /// What is shown is decomposed and put together again, which takes the weights' own numbers.
    private let transformer: Transformer?
    private let cache = Mutex(Cache())

    /// A forward pass of the whole sentence.
    struct ForwardPass: Sendable {
        let transformer: Transformer
        /// `[1, T, M]`.
        let embeddings: Tensor
        /// `[1, T, M]`, after the last layer.
        let hiddenStates: Tensor
        let trace: TransformerTrace
    }

    private struct Cache {
        var pass: ForwardPass?
        var effects: [EffectKey: [Double]] = [:]
        var steps: [StepsKey: AttentionSteps] = [:]
    }

    private struct EffectKey: Hashable {
        let target: Int
        let showsTokens: Bool
    }

    private struct StepsKey: Hashable {
        let layer: Int
        let head: Int
        let target: Int
        let showsTokens: Bool
    }

    /// Cuts a sentence into tokens.
    ///
    /// - Parameters:
    ///   - sentence: The text; special tokens in it are plain text.
    ///   - model: Who reads it.
    /// - Throws: `InspectionError` when the sentence is empty, too long, or cannot be written in the model's tokens.
    public init(of sentence: String, by model: LanguageModel) throws(InspectionError) {
        self.sentence = sentence
        self.model = model
        transformer = model.transformer?.computing(with: .float32)
        text = try TokenizedText(
            sentence, model.tokenizer,
            contextLength: transformer?.configuration.contextLength ?? model.model.contextLength ?? .max)
    }

    /// Words or tokens, in order.
    func segments(showingTokens: Bool) -> [Segment] { showingTokens ? text.tokenSegments : text.wordSegments }

    /// Returns where a word stands.
    ///
    /// - Parameters:
    ///   - target: The word.
    ///   - unit: What is counted.
    /// - Returns: From 0.
    /// - Throws: `InspectionError` when there is none, or several.
    public func position(of target: Target, unit: ViewState.Unit = .words) throws(InspectionError) -> Int {
        try target.index(in: segments(showingTokens: unit == .tokens))
    }

    // MARK: - The forward pass

    /// Returns the sentence's forward pass; the first call makes it.
    ///
    /// - Parameter queries: Whose weights the first call records on the way.
    /// - Returns: The pass.
    /// - Throws: `InspectionError.incompleteHead` when the model is no Transformer.
    func forwardPass(recording queries: Range<Int> = 0..<0) throws(InspectionError) -> ForwardPass {
        guard let transformer else {
            throw .incompleteHead(reason: "The model is no Transformer: it has no heads to look at.")
        }
        return cache.withLock { cache in
            if let pass = cache.pass { return pass }
            let embeddings = transformer.embed([text.ids.map(Int.init)])
            let (hidden, trace) = transformer.trace(embeddings, recording: TraceRequest(weights: queries))
            let pass = ForwardPass(
                transformer: transformer, embeddings: embeddings, hiddenStates: hidden, trace: trace)
            cache.pass = pass
            return pass
        }
    }

    // MARK: - The explanation

    /// Explains what the model does at one word.
    ///
    /// - Parameters:
    ///   - target: The word to explain.
    ///   - options: Which layers and heads, and how far.
    ///   - willComputeEffect: Called with all but *effect* before that is computed, which takes longest; not called
    ///     where it is left out, or known already.
    /// - Returns: Figures for every word, the predictions, and the steps of one head if it was named.
    /// - Throws: `InspectionError` when the target, the layer or the head cannot be, the model's numbers are not finite,
    ///   or the task was cancelled.
    public func explanation(
        target: Target = .last, options: ExplanationOptions = ExplanationOptions(),
        willComputeEffect: (Explanation) -> Void = { _ in }
    ) throws(InspectionError) -> Explanation {
        try check(options)
        guard transformer != nil else {
            return try plainExplanation(
                by: model.model, target: target, options: options, willComputeEffect: willComputeEffect)
        }
        let segments = segments(showingTokens: options.showsTokens)
        let index = try target.index(in: segments)
        let targetTokens = segments[index].tokens

        // A causal model does not look beyond the target; the keys that the mask hides are still shown.
        let visible = Array(segments[...index])
        let pass = try forwardPass(recording: targetTokens)
        let last = pass.hiddenStates.slice(axis: 1, range: targetTokens.upperBound - 1..<targetTokens.upperBound)
        let logProbabilities = logSoftmax(pass.transformer.logits(of: last).floats)
        guard logProbabilities.allSatisfy(\.isFinite) else {
            throw .notFinite(place: "the prediction after the target")
        }

        let layers = options.layer.map { $0..<$0 + 1 } ?? 0..<pass.trace.layers.count
        let weights = layers.map { pass.attentionWeights(layer: $0, queries: targetTokens) }
        let attention = attentionShares(weights, head: options.head, segments: visible)
        let contribution = contributionShares(
            weights, layers: layers, of: pass, head: options.head, segments: visible)
        guard contribution.allSatisfy(\.isFinite) else { throw .notFinite(place: "the contributions to the target") }
        let sink = sinkShare(attention, target: index)
        var steps: AttentionSteps?
        if let layer = options.layer, let head = options.head {
            steps = try self.steps(
                target: index, layer: layer, head: head, showsTokens: options.showsTokens)
        }
        let nextWords = try predictions(logProbabilities, count: options.predictionCount)
        func explanation(effect: [Double]?, notes: [String] = []) -> Explanation {
            let words = segments.indices.map { word in
                let isVisible = word <= index
                return Explanation.Word(
                    text: segments[word].text, attention: isVisible ? attention[word] : 0,
                    attentionWithoutSink: isVisible && word != 0
                        ? sink.map { attention[word] / max(1 - $0, .leastNonzeroMagnitude) } : nil,
                    contribution: isVisible ? contribution[word] : 0,
                    effect: isVisible ? effect?[word] : effect.map { _ in 0 },
                    isSink: word == 0 && sink != nil, isVisible: isVisible)
            }
            return Explanation(
                model: model.name, scope: scope(layer: options.layer, head: options.head),
                unit: options.showsTokens ? "tokens" : "words",
                target: Explanation.Target(index: index, text: segments[index].text), words: words,
                nextWords: nextWords, steps: steps, alignment: nil, notes: notesOnModel + notes)
        }

        let length = targetTokens.upperBound
        if let notes = leavesOutEffect(options, segments: visible, length: length) {
            return explanation(effect: nil, notes: notes)
        }
        let key = EffectKey(target: index, showsTokens: options.showsTokens)
        if let known = cache.withLock({ $0.effects[key] }) { return explanation(effect: known) }
        willComputeEffect(explanation(effect: nil))
        let lens = EffectLens(
            model: pass.transformer, embeddings: pass.embeddings.slice(axis: 1, range: 0..<length),
            logProbabilities: logProbabilities)
        let bits = try lens.bits(of: visible)
        cache.withLock { $0.effects[key] = bits }
        return explanation(effect: bits)
    }

    /// Returns each step of one head at the last token of a word.
    func steps(target index: Int, layer: Int, head: Int, showsTokens: Bool) throws(InspectionError) -> AttentionSteps {
        let key = StepsKey(layer: layer, head: head, target: index, showsTokens: showsTokens)
        if let known = cache.withLock({ $0.steps[key] }) { return known }
        let segments = segments(showingTokens: showsTokens)
        let query = segments[index].tokens.upperBound - 1
        let pass = try forwardPass(recording: segments[index].tokens)
        let wordOfToken = segments.enumerated().flatMap { word, segment in segment.tokens.map { _ in word } }
        let steps = AttentionSteps(
            pass, layer: layer, head: head, query: query, tokenTexts: text.tokenTexts, words: wordOfToken)
        cache.withLock { $0.steps[key] = steps }
        return steps
    }

    /// What the reader has to know of the model.
    var notesOnModel: [String] {
        guard model.prompting == .pairs && !model.model.readsSource else { return [] }
        return [
            "the model learned pairs, and was trained to predict targets alone: what it predicts within a source means little."
        ]
    }

    /// Returns `nil` where *effect* is to be computed, else what to tell the reader.
    func leavesOutEffect(_ options: ExplanationOptions, segments: [Segment], length: Int) -> [String]? {
        switch options.effect {
        case .always: return nil
        case .never: return []
        case .automatic:
            if segments.count * length <= automaticEffectTokenLimit { return nil }
            return [
                "effect was left out: it takes \(segments.count) more runs of \(length) tokens. "
                    + "--effect always computes it."
            ]
        }
    }

    func check(_ options: ExplanationOptions) throws(InspectionError) {
        guard let transformer else {
            if options.layer != nil || options.head != nil {
                throw .incompleteHead(reason: "The model is no Transformer: it has no heads to name.")
            }
            return
        }
        if let layer = options.layer, !transformer.layers.indices.contains(layer) {
            throw .layerOutOfRange(layer: layer, layerCount: transformer.layers.count)
        }
        if let head = options.head {
            if options.layer == nil { throw .headWithoutLayer(head) }
            if !(0..<transformer.configuration.headCount ~= head) {
                throw .headOutOfRange(head: head, headCount: transformer.configuration.headCount)
            }
        }
    }

    /// Which layers and heads are meant, in words.
    func scope(layer: Int?, head: Int?) -> String {
        let configuration = transformer?.configuration
        let (layerCount, headCount) = (configuration?.layerCount ?? 0, configuration?.headCount ?? 0)
        switch (layer, head) {
        case (nil, _): return "mean of \(layerCount) layers × \(headCount) heads"
        case (let layer?, nil): return "layer \(layer), mean of \(headCount) heads"
        case (let layer?, let head?): return "layer \(layer), head \(head)"
        }
    }

    /// The share of the first word if it is a sink: an attention of 0.3 and more for being first (the threshold of
    /// Gu et al., "When Attention Sink Emerges in Language Models", 2024, arXiv:2410.10781), seen from a later word.
    private func sinkShare(_ attention: [Double], target: Int) -> Double? {
        guard target > 0, let first = attention.first, first >= 0.3 else { return nil }
        return first
    }

    func predictions(_ logProbabilities: [Double], count: Int) throws(InspectionError) -> [Explanation.Prediction] {
        var predictions: [Explanation.Prediction] = []
        for token in logProbabilities.indicesOfLargest(count) {
            do {
                let text = try model.tokenizer.decode([Int32(token)])
                predictions.append(Explanation.Prediction(text: text, probability: .exp(logProbabilities[token])))
            } catch {
                throw .tokenizer(error.description)
            }
        }
        return predictions
    }
}

extension Inspection.ForwardPass {
    /// Returns a layer's weights of some queries, `[1, H, count, T]`: those that were recorded on the way, or the same
    /// from the same operands.
    func attentionWeights(layer: Int, queries: Range<Int>) -> Tensor {
        let layer = trace.layers[layer]
        let recorded = trace.weightedQueries
        if let weights = layer.attentionWeights, recorded.clamped(to: queries) == queries {
            let first = queries.lowerBound - recorded.lowerBound
            return weights.slice(axis: 2, range: first..<first + queries.count)
        }
        let result = layer.operation(
            queries: layer.queries, keys: layer.keys, values: layer.values,
            returning: AttentionRequest(weights: queries))
        return result.weights ?? Tensor(zeros: [1, layer.queries.shape[1], queries.count, layer.keys.shape[2]])
    }
}
