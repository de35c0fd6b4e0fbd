extension AttentionOperation {
    /// Returns the output with the way back to what is tracked.
    ///
    /// The measure's maps of queries and keys are operations of their own; what follows, from features to output, is one.
    func recorded<Scalar: KernelScalar>(
        _ shape: AttentionShape, _ form: ScoreForm, _ queries: Tensor, _ keys: Tensor, _ values: Tensor,
        _ request: AttentionRequest, as type: Scalar.Type
    ) -> AttentionResult {
        let queryFeatures = form.queries.features(of: queries, as: type)
        let keyFeatures = form.keys.features(of: keys, as: type)
        let call = TiledAttention<Scalar>(
            withoutPast(form), shape, queryFeatures.detached, keyFeatures.detached, values.detached,
            form: form.afterMaps)
        // In the type that it is computed in: the gradients need every digit of it.
        let (output, rows, operands) = call.run(
            layout: queries.strides, outputType: Scalar.elementType, keepsPanels: request.needsSecondPass)
        let inputs = [queryFeatures, keyFeatures, values, form.scaleTensor, form.weights, sinks] + bias.sources
        let shapes = inputs.map { $0?.shape }
        let types = inputs.map { $0?.gradientType }
        let recordedOutput = output.recorded(from: inputs) { gradient, isWanted in
            let wanted = AttentionGradients.Wanted(isWanted)
            let found = AttentionBackward(call, rows, output, gradient, wanted).gradients()
            return found.all.indices.map { index in
                guard isWanted[index], let shape = shapes[index], let type = types[index] else { return nil }
                return found.all[index]?.reshaped(to: shape).converted(to: type)
            }
        }
        var result = AttentionResult(output: recordedOutput.stored(as: queries.elementType))
        if request.logSumExp { result.logSumExp = rows.logSumExp(shape) }
        if request.needsSecondPass {
            AttentionDetails(call, operands ?? TileOperandBuffers(call), rows, request).fill(&result)
        }
        return result
    }

    /// The operation for the call that is recorded: it holds no tracked tensor, which would hold its past.
    private func withoutPast(_ form: ScoreForm) -> AttentionOperation {
        var operation = self
        operation.sinks = sinks?.detached
        operation.bias = bias.detached
        // A measure with a form is in the form; only one without has its own function called.
        if case .pairwise = form.operation { return operation }
        operation.similarity = .dot
        return operation
    }
}

extension Tensor {
    /// Returns `[B, H, T, D]` as another type, laid out as it is.
    fileprivate func stored(as type: ElementType) -> Tensor {
        if transposed(1, 2).isContiguous { return transposed(1, 2).converted(to: type).transposed(1, 2) }
        return converted(to: type)
    }
}

/// What a way back through attention is asked for, and what it finds: one of each for every operand.
struct AttentionGradients {
    /// Which gradients are asked for.
    struct Wanted {
        let queries: Bool
        let keys: Bool
        let values: Bool
        let scale: Bool
        /// Those of an additive form.
        let weights: Bool
        let sinks: Bool
        /// One per rule of the bias.
        let biases: [Bool]

        init(_ isWanted: [Bool]) {
            (queries, keys, values) = (isWanted[0], isWanted[1], isWanted[2])
            (scale, weights, sinks) = (isWanted[3], isWanted[4], isWanted[5])
            biases = Array(isWanted[6...])
        }

        /// Those of all that a call has tracked, if there is anything.
        init?<Scalar: KernelScalar>(trackedIn call: TiledAttention<Scalar>) {
            let (form, operation) = (call.form, call.operation)
            let isTracked =
                [isRecorded([call.queries] + form.queries.parameters), isRecorded([call.keys] + form.keys.parameters)]
                + ([call.values, form.scaleTensor, form.weights, operation.sinks] + operation.bias.sources)
                .map { isRecorded([$0]) }
            guard isTracked.contains(true) else { return nil }
            self.init(isTracked)
        }
    }

    var queries: Tensor?
    var keys: Tensor?
    var values: Tensor?
    var scale: Tensor?
    var weights: Tensor?
    var sinks: Tensor?
    var biases: [Tensor?]

    /// In the order of the operands.
    var all: [Tensor?] { [queries, keys, values, scale, weights, sinks] + biases }
}
