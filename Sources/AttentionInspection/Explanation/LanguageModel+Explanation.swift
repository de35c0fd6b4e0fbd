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
    ///   - willComputeEffect: Called with all but *effect* before that is computed, which takes longest; not called
    ///     where it is left out.
    /// - Returns: Figures for every word, the predictions, and the steps of one head if it was named.
    /// - Throws: `InspectionError` when the sentence, the target, the layer or the head cannot be, or the model's
    ///   numbers are not finite.
    public func explanation(
        of sentence: String, target: Target = .last, options: ExplanationOptions = ExplanationOptions(),
        willComputeEffect: (Explanation) -> Void = { _ in }
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
        guard contribution.allSatisfy(\.isFinite) else { throw .notFinite(place: "the contributions to the target") }
        let sink = sinkShare(attention, target: index)
        var steps: AttentionSteps?
        if let layer = options.layer, let head = options.head {
            let wordOfToken = segments.enumerated().flatMap { word, segment in segment.tokens.map { _ in word } }
            steps = AttentionSteps(
                trace: trace.layers[layer], layer: layer, head: head, query: targetTokens.upperBound - 1,
                weightRow: targetTokens.count - 1, tokenTexts: text.tokenTexts, words: wordOfToken)
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
                model: name, scope: scope(options), unit: options.showsTokens ? "tokens" : "words",
                target: Explanation.Target(index: index, text: segments[index].text), words: words,
                nextWords: nextWords, steps: steps, notes: notes)
        }

        let length = targetTokens.upperBound
        if options.effect == .never { return explanation(effect: nil) }
        if options.effect == .automatic && visible.count * length > EffectLens.automaticTokenLimit {
            return explanation(
                effect: nil,
                notes: [
                    "effect was left out: it takes \(visible.count) more runs of \(length) tokens. "
                        + "--effect always computes it."
                ])
        }
        willComputeEffect(explanation(effect: nil))
        let lens = EffectLens(
            model: transformer, embeddings: embeddings.slice(axis: 1, range: 0..<length),
            logProbabilities: logProbabilities)
        return explanation(effect: try lens.bits(of: visible))
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

    /// The share of the first word if it is a sink: an attention of 0.3 and more for being first (the threshold of
    /// Gu et al., "When Attention Sink Emerges in Language Models", 2024, arXiv:2410.10781), seen from a later word.
    private func sinkShare(_ attention: [Double], target: Int) -> Double? {
        guard target > 0, let first = attention.first, first >= 0.3 else { return nil }
        return first
    }

    private func predictions(
        _ logProbabilities: [Double], count: Int
    ) throws(InspectionError) -> [Explanation.Prediction] {
        // Not a sort of the whole vocabulary, which the first line would wait for.
        var best: [Int] = []
        for token in logProbabilities.indices {
            if best.count == count {
                guard let last = best.last, logProbabilities[token] > logProbabilities[last] else { continue }
                best.removeLast()
            }
            let place = best.firstIndex { logProbabilities[token] > logProbabilities[$0] } ?? best.count
            best.insert(token, at: place)
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
