internal import Attention
internal import ModelFiles
internal import PretrainedModels
internal import SequenceModels

// Models that are no Transformers: they have predictions, and some of them attention, but no heads.

extension Inspection {
    /// Explains a model that is no Transformer: *effect*, and where it attends, *attention*.
    func plainExplanation<Model: SequenceModel>(
        by model: Model, target: Target, options: ExplanationOptions, willComputeEffect: (Explanation) -> Void
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
        let start = model.readsSource ? [self.model.decoderStart(after: ids)] : []
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
                model: self.model.name, scope: scope(of: model), unit: options.showsTokens ? "tokens" : "words",
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
        self.model.continuation(of: ids.map(Int32.init), maximumCount: 24, sampler: &sampler) { token in
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
                written: try written.map { try self.model.tokenizer.decode([$0]) },
                weights: written.indices.map { Array(weights[$0 * ids.count..<($0 + 1) * ids.count]) }, read: texts)
        } catch {
            throw .tokenizer("\(error)")
        }
    }
}
