internal import Attention
internal import ModelFiles
public import PretrainedModels
internal import SequenceModels

extension LanguageModel {
    /// Explains what the model does at one word of a sentence, from one real forward pass.
    ///
    /// - Parameters:
    ///   - sentence: The text; special tokens in it are plain text.
    ///   - target: The word to explain.
    ///   - options: Which layers and heads, and how far.
    /// - Returns: Figures for every word, the predictions, and the steps of one head if it was named.
    /// - Throws: `InspectionError` when the sentence, the target, the layer or the head cannot be.
    public func explanation(
        of sentence: String, target: Target = .last, options: ExplanationOptions = ExplanationOptions()
    ) throws(InspectionError) -> Explanation {
        try check(options)
        let text = try TokenizedText(sentence, tokenizer, contextLength: transformer.configuration.contextLength)
        let segments = options.showsTokens ? text.tokenSegments : text.wordSegments
        let index = try target.index(in: segments)
        let targetTokens = segments[index].tokens

        // A causal model does not look beyond the target; the keys that the mask hides are still shown.
        let visible = Array(segments[...index])
        let embeddings = transformer.embed([text.ids.map(Int.init)])
        let (hidden, trace) = transformer.trace(embeddings, recording: TraceRequest(weights: targetTokens))
        let last = hidden.slice(axis: 1, range: targetTokens.upperBound - 1..<targetTokens.upperBound)
        let logProbabilities = logSoftmax(transformer.logits(of: last).floats)
        guard logProbabilities.allSatisfy(\.isFinite) else {
            throw .notFinite(place: "the prediction after the target")
        }

        let layers = options.layer.map { trace.layers[$0...$0] } ?? trace.layers[...]
        let attention = attentionShares(layers, head: options.head, segments: visible)
        let contribution = contributionShares(layers, of: transformer, head: options.head, segments: visible)
        var notes: [String] = []
        let seen = embeddings.slice(axis: 1, range: 0..<targetTokens.upperBound)
        let effect = effects(options, visible, seen, logProbabilities, &notes)
        let sink = sinkShare(attention, target: index)
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
        var steps: AttentionSteps?
        if let layer = options.layer, let head = options.head {
            let wordOfToken = segments.enumerated().flatMap { word, segment in segment.tokens.map { _ in word } }
            steps = AttentionSteps(
                trace: trace.layers[layer], layer: layer, head: head, query: targetTokens.upperBound - 1,
                weightRow: targetTokens.count - 1, tokenTexts: text.tokenTexts, words: wordOfToken)
        }
        return Explanation(
            model: name, scope: scope(options), unit: options.showsTokens ? "tokens" : "words",
            target: Explanation.Target(index: index, text: segments[index].text), words: words,
            nextWords: try predictions(logProbabilities, count: options.predictionCount), steps: steps, notes: notes)
    }

    private func check(_ options: ExplanationOptions) throws(InspectionError) {
        if let layer = options.layer, !transformer.layers.indices.contains(layer) {
            throw .layerOutOfRange(layer: layer, layerCount: transformer.layers.count)
        }
        if let head = options.head {
            if options.layer == nil {
                throw .incompleteHead(reason: "Head \(head) of which layer? Name the layer as well.")
            }
            if !(0..<transformer.configuration.headCount ~= head) {
                throw .headOutOfRange(head: head, headCount: transformer.configuration.headCount)
            }
        }
    }

    private func scope(_ options: ExplanationOptions) -> String {
        let (layerCount, headCount) = (transformer.configuration.layerCount, transformer.configuration.headCount)
        switch (options.layer, options.head) {
        case (nil, _): return "mean of \(layerCount) layers × \(headCount) heads"
        case (let layer?, nil): return "layer \(layer), mean of \(headCount) heads"
        case (let layer?, let head?): return "layer \(layer), head \(head)"
        }
    }

    private func effects(
        _ options: ExplanationOptions, _ visible: [Segment], _ embeddings: Tensor, _ logProbabilities: [Double],
        _ notes: inout [String]
    ) -> [Double]? {
        let tokenCount = visible.count * embeddings.shape[1]
        switch options.effect {
        case .never: return nil
        case .automatic where tokenCount > EffectLens.automaticTokenLimit:
            notes.append(
                "effect was left out: it takes \(visible.count) more runs of \(embeddings.shape[1]) tokens. "
                    + "--effect always computes it.")
            return nil
        default:
            return EffectLens(model: transformer, embeddings: embeddings, logProbabilities: logProbabilities)
                .bits(of: visible)
        }
    }

    /// The share of the first word if it is a sink: an attention of 0.3 and more for being first (the threshold of
    /// Gu et al., "When Attention Sink Emerges in Language Models", 2024, arXiv:2410.10781), seen from a later word.
    private func sinkShare(_ attention: [Double], target: Int) -> Double? {
        guard target > 0, let first = attention.first, first >= 0.3 else { return nil }
        return first
    }

    private func predictions(
        _ logProbabilities: [Double], count: Int
    ) throws(InspectionError) -> [Explanation.Prediction] {
        var best: [Int] = []
        for token in logProbabilities.indices {
            let place = best.firstIndex { logProbabilities[token] > logProbabilities[$0] } ?? best.count
            if place < count {
                best.insert(token, at: place)
                if best.count > count { best.removeLast() }
            }
        }
        var predictions: [Explanation.Prediction] = []
        for token in best {
            do {
                let text = try tokenizer.decode([Int32(token)])
                predictions.append(Explanation.Prediction(text: text, probability: .exp(logProbabilities[token])))
            } catch {
                throw .tokenizer(error.description)
            }
        }
        return predictions
    }
}
