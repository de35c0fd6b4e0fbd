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
        let text = try TokenizedText(
            sentence, tokenizer, contextLength: transformer?.configuration.contextLength ?? model.contextLength ?? .max)
        if let transformer {
            // What is shown is decomposed and put together again, which takes the weights' own numbers.
            return try explanation(
                by: transformer.computing(with: .float32), of: text, target: target, options: options,
                willComputeEffect: willComputeEffect)
        }
        return try explanation(
            byPlain: model, of: text, target: target, options: options, willComputeEffect: willComputeEffect)
    }

    private func explanation(
        by transformer: Transformer, of text: TokenizedText, target: Target, options: ExplanationOptions,
        willComputeEffect: (Explanation) -> Void
    ) throws(InspectionError) -> Explanation {
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
            let isRotated = if case .rotary = transformer.configuration.positions { true } else { false }
            steps = AttentionSteps(
                trace: trace.layers[layer], similarity: transformer.layers[layer].attention.similarity.kind,
                isRotated: isRotated, layer: layer, head: head, query: targetTokens.upperBound - 1,
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
                nextWords: nextWords, steps: steps, alignment: nil, notes: notesOnModel + notes)
        }

        let length = targetTokens.upperBound
        guard let note = leavesOutEffect(options, segments: visible, length: length) else {
            willComputeEffect(explanation(effect: nil))
            let lens = EffectLens(
                model: transformer, embeddings: embeddings.slice(axis: 1, range: 0..<length),
                logProbabilities: logProbabilities)
            return explanation(effect: try lens.bits(of: visible))
        }
        return explanation(effect: nil, notes: note)
    }

    /// What the reader has to know of the model.
    private var notesOnModel: [String] {
        guard prompting == .pairs && !model.readsSource else { return [] }
        return [
            "the model learned pairs, and was trained to predict targets alone: what it predicts within a source means little."
        ]
    }

    /// Returns `nil` where *effect* is to be computed, else what to tell the reader.
    private func leavesOutEffect(_ options: ExplanationOptions, segments: [Segment], length: Int) -> [String]? {
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

    /// Explains a model that is no Transformer: *effect*, and where it attends, *attention*.
    private func explanation<Model: SequenceModel>(
        byPlain model: Model, of text: TokenizedText, target: Target, options: ExplanationOptions,
        willComputeEffect: (Explanation) -> Void
    ) throws(InspectionError) -> Explanation {
        let ids = text.ids.map(Int.init)
        let segments = options.showsTokens ? text.tokenSegments : text.wordSegments
        switch target {
        case .word(let word) where model.readsSource: throw .noTargetInSource(target: word)
        case .position(let position) where model.readsSource: throw .noTargetInSource(target: "#\(position)")
        default: break
        }
        let index = try target.index(in: segments)
        let targetTokens = segments[index].tokens
        // An encoder reads the whole of its source before anything is written.
        let lastVisible = model.readsSource ? segments.count - 1 : index
        let visible = Array(segments[...lastVisible])
        let embeddings =
            model.readsSource
            ? model.embedSource([ids]) : model.embed([ids]).slice(axis: 1, range: 0..<targetTokens.upperBound)
        let start = model.readsSource ? [decoderStart(after: ids)] : []
        let written = model.readsSource ? model.embed([start]) : nil
        var dropout: RandomStream?
        let source = written == nil ? nil : EmbeddedBatch(embeddings)
        let hidden = model.hiddenStates(of: EmbeddedBatch(written ?? embeddings), source: source, dropout: &dropout)
        let last = hidden.slice(axis: 1, range: hidden.shape[1] - 1..<hidden.shape[1])
        let logProbabilities = logSoftmax(model.logits(of: last).floats)
        guard logProbabilities.allSatisfy(\.isFinite) else {
            throw .notFinite(place: "the prediction after the target")
        }
        let alignment = try alignment(by: model, ids: ids, texts: text.tokenTexts, start: start)
        let attention = plainAttentionShares(
            of: model, embeddings: embeddings, alignment: alignment, targetTokens: targetTokens, segments: visible)
        let nextWords = try predictions(logProbabilities, count: options.predictionCount)
        func explanation(effect: [Double]?, notes: [String] = []) -> Explanation {
            let words = segments.indices.map { word in
                let isVisible = word <= lastVisible
                return Explanation.Word(
                    text: segments[word].text, attention: attention.map { isVisible ? $0[word] : 0 },
                    attentionWithoutSink: nil, contribution: nil,
                    effect: isVisible ? effect?[word] : effect.map { _ in 0 }, isSink: false, isVisible: isVisible)
            }
            return Explanation(
                model: name, scope: scope(of: model), unit: options.showsTokens ? "tokens" : "words",
                target: Explanation.Target(index: index, text: segments[index].text), words: words,
                nextWords: nextWords, steps: nil, alignment: alignment, notes: notesOnModel + notes)
        }
        guard let note = leavesOutEffect(options, segments: visible, length: embeddings.shape[1]) else {
            willComputeEffect(explanation(effect: nil))
            let lens = EffectLens(
                model: model, embeddings: embeddings, written: written, logProbabilities: logProbabilities)
            return explanation(effect: try lens.bits(of: visible))
        }
        return explanation(effect: nil, notes: note)
    }

    private func scope(of model: some SequenceModel) -> String {
        switch model {
        case is any AttendingModel: "attention to its own past, mean of its layers"
        case is any AligningModel: "the whole source"
        default: "a model without attention"
        }
    }

    /// Returns the mean over the target's tokens and the layers of the weights on each segment's tokens; of an
    /// encoder–decoder, the weights of the first token that it writes; `nil` where there is nothing to attend to.
    private func plainAttentionShares(
        of model: some SequenceModel, embeddings: Tensor, alignment: Explanation.Alignment?, targetTokens: Range<Int>,
        segments: [Segment]
    ) -> [Double]? {
        var rows: [[Double]] = []
        if let first = alignment?.weights.first {
            rows = [first]
        } else if let model = model as? any AttendingModel {
            let length = embeddings.shape[1]
            for layer in model.attentionWeights(of: EmbeddedBatch(embeddings)) {
                let elements = layer.doubles
                // The first token has nothing to attend to.
                rows += targetTokens.filter { $0 > 0 }.map { Array(elements[$0 * length..<($0 + 1) * length]) }
            }
        }
        if rows.isEmpty { return nil }
        return segments.map { segment in
            rows.reduce(0) { $0 + $1[segment.tokens].reduce(0, +) } / Double(rows.count)
        }
    }

    /// Returns how the first tokens that an encoder–decoder writes attend to its source.
    private func alignment<Model: SequenceModel>(
        by model: Model, ids: [Int], texts: [String], start: [Int]
    ) throws(InspectionError) -> Explanation.Alignment? {
        guard let model = model as? any AligningModel else { return nil }
        var sampler = TokenSampler(temperature: 0)
        var written: [Int32] = []
        continuation(of: ids.map(Int32.init), maximumCount: 24, sampler: &sampler) { token in
            written.append(token)
            return true
        }
        guard !written.isEmpty else { return nil }
        let inputs = start + written.dropLast().map(Int.init)
        let batch = TrainingBatch(
            source: TokenBatch([ids]), inputs: TokenBatch([inputs]), targets: [written.map(Int.init)])
        guard let weights = model.alignment(of: batch)?.doubles else { return nil }
        do {
            return Explanation.Alignment(
                written: try written.map { try tokenizer.decode([$0]) },
                weights: written.indices.map { Array(weights[$0 * ids.count..<($0 + 1) * ids.count]) }, read: texts)
        } catch {
            throw .tokenizer("\(error)")
        }
    }

    private func check(_ options: ExplanationOptions) throws(InspectionError) {
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
            if options.layer == nil {
                throw .incompleteHead(reason: "Head \(head) of which layer? Name the layer as well.")
            }
            if !(0..<transformer.configuration.headCount ~= head) {
                throw .headOutOfRange(head: head, headCount: transformer.configuration.headCount)
            }
        }
    }

    private func scope(_ options: ExplanationOptions) -> String {
        let configuration = transformer?.configuration
        let (layerCount, headCount) = (configuration?.layerCount ?? 0, configuration?.headCount ?? 0)
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
        var predictions: [Explanation.Prediction] = []
        for token in logProbabilities.indicesOfLargest(count) {
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
