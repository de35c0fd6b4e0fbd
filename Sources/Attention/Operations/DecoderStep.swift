internal import CAttentionKernels

/// One step of a decoder in the manner of Llama on quantised weights: the next token of each of a few sequences through
/// all layers, to the logits.
///
/// Layers of RMS normalisation before attention and before a gated feed-forward block, rotated queries and keys, no biases:
/// Touvron et al., "LLaMA", 2023 (arXiv:2302.13971), section 2.2.
///
/// A token's time should go to reading the weights. As one operation on tensors after the other, what lies between the
/// products takes longer than they do; here all is one parallel section over raw memory, whose steps are the products and
/// attention, and whatever takes less than a thread needs to hear of it is done between two steps. Kernels and order are
/// those of the operations, so the bits are theirs.
///
/// `B` sequences, `M` width, `H` query heads, `G` key-value heads, `D` head dimension, `F` feed-forward width, `V` tokens.
package struct DecoderStep: Sendable {
    /// The weights of one layer.
    package struct Layer: Sendable {
        let attentionNorm: RMSNorm
        let projections: [WeightMatrix]
        let output: WeightMatrix
        let feedForwardNorm: RMSNorm
        let gate: WeightMatrix
        let up: WeightMatrix
        let down: WeightMatrix

        /// Creates a layer from its weights.
        ///
        /// - Parameters:
        ///   - attentionNorm: The norm before attention.
        ///   - query: `[H·D, M]`.
        ///   - key: `[G·D, M]`.
        ///   - value: `[G·D, M]`.
        ///   - output: `[M, H·D]`.
        ///   - feedForwardNorm: The norm before the feed-forward block.
        ///   - gate: `[F, M]`.
        ///   - up: `[F, M]`.
        ///   - down: `[M, F]`.
        package init(
            attentionNorm: RMSNorm, query: WeightMatrix, key: WeightMatrix, value: WeightMatrix, output: WeightMatrix,
            feedForwardNorm: RMSNorm, gate: WeightMatrix, up: WeightMatrix, down: WeightMatrix
        ) {
            self.attentionNorm = attentionNorm
            projections = [query, key, value]
            self.output = output
            self.feedForwardNorm = feedForwardNorm
            self.gate = gate
            self.up = up
            self.down = down
        }

        var matrices: [WeightMatrix] { projections + [output, gate, up, down] }

        var shapes: [[Int]] { matrices.map { [$0.rowCount, $0.columnCount] } }
    }

    /// A norm without a bias: `x / √(mean(x²) + epsilon) · weight`.
    package struct RMSNorm: Sendable {
        let weight: Tensor
        let epsilon: Double

        /// Creates a norm.
        ///
        /// - Parameters:
        ///   - weight: `[M]`.
        ///   - epsilon: Added to the mean square.
        package init(weight: Tensor, epsilon: Double) {
            self.weight = weight
            self.epsilon = epsilon
        }
    }

    /// More sequences keep the threads busy operation by operation, and what is done between steps would hold them up.
    package static let maximumSequenceCount = 8

    private let layers: [Layer]
    private let finalNorm: RMSNorm
    private let output: WeightMatrix
    private let headCount: Int
    private let keyValueHeadCount: Int
    private let rotary: RotaryEmbedding

    /// Prepares a step, if all weights are of a kind that it takes: quantised, computing with integers, of the same shapes in
    /// all layers, and norms in float32.
    ///
    /// - Parameters:
    ///   - layers: The first first.
    ///   - finalNorm: The norm after the last layer.
    ///   - output: `[V, M]`.
    ///   - headCount: `H`.
    ///   - keyValueHeadCount: `G`, which divides `H`.
    ///   - rotary: How queries and keys are rotated.
    package init?(
        layers: [Layer], finalNorm: RMSNorm, output: WeightMatrix, headCount: Int, keyValueHeadCount: Int,
        rotary: RotaryEmbedding
    ) {
        let norms = layers.flatMap { [$0.attentionNorm, $0.feedForwardNorm] } + [finalNorm]
        guard
            output.usedArithmetic == .int8,
            layers.allSatisfy({ $0.matrices.allSatisfy { $0.usedArithmetic == .int8 } }),
            layers.allSatisfy({ $0.shapes == layers[0].shapes && $0.down.columnCount == $0.gate.rowCount }),
            norms.allSatisfy({ $0.weight.elementType == .float32 && $0.weight.isContiguous && $0.weight.node == nil })
        else { return nil }
        self.layers = layers
        self.finalNorm = finalNorm
        self.output = output
        self.headCount = headCount
        self.keyValueHeadCount = keyValueHeadCount
        self.rotary = rotary
    }

    /// Returns the logits after one more token of each sequence, and appends its keys and values.
    ///
    /// - Parameters:
    ///   - embeddings: `[B, 1, M]`, float32, with at most ``maximumSequenceCount`` sequences.
    ///   - caches: By layer, without a window, of a type that kernels read in place.
    /// - Returns: `[B, V]`.
    package func logits(after embeddings: Tensor, caches: inout [KeyValueCache]) -> Tensor {
        let rows = embeddings.shape[0]
        let width = output.columnCount
        require(
            embeddings.shape == [rows, 1, width] && rows <= DecoderStep.maximumSequenceCount
                && caches.count == layers.count,
            "A step takes [up to \(DecoderStep.maximumSequenceCount), 1, \(width)] and \(layers.count) caches, not "
                + "\(embeddings.shape) and \(caches.count).")
        let result = Tensor(uninitialized: [rows, output.rowCount], elementType: .float32)
        guard rows > 0 else { return result }
        let positions = caches.first?.nextPositions ?? []
        let (cosines, sines) = rotary.angles(positions: positions.map { [$0] })
        let angles = (cosines.contiguous(), sines.contiguous())
        let embeddings = embeddings.detached.contiguous()
        let places = caches.indices.map { caches[$0].placeForOneMore() }
        let shape = StepShape(
            rows: rows, width: width, headCount: headCount, keyValueHeadCount: keyValueHeadCount,
            headDimension: (layers.first?.output.columnCount ?? 0) / headCount,
            hiddenWidth: layers.first?.gate.rowCount ?? 0, keyCount: (positions.max() ?? 0) + 1)
        zip(layers, places).map { LayerPointers($0, $1) }.withUnsafeBufferPointer { layers in
            positions.withUnsafeBufferPointer { positions in
                Scratch.with(shape) { scratch in
                    scratch.stream.update(from: embeddings.pointer(as: Float.self), count: rows * width)
                    let run = Run(
                        layers: layers, finalNorm: NormPointers(finalNorm), output: MatrixPointers(output),
                        logits: result.pointer(as: Float.self), shape: shape, scratch: scratch, positions: positions,
                        cosines: angles.0.pointer(as: Float.self), sines: angles.1.pointer(as: Float.self),
                        pairCount: rotary.dimension / 2, layout: rotary.layout)
                    run.begin()
                    parallelSteps(run.stepCount, items: run.partCount) {
                        run.finish($0)
                    } _: {
                        run.compute($0, part: $1)
                    }
                }
            }
        }
        withExtendedLifetime((self, caches, angles, embeddings)) {}
        return result
    }
}

/// The sizes of a step.
private struct StepShape {
    let rows: Int
    let width: Int
    let headCount: Int
    let keyValueHeadCount: Int
    let headDimension: Int
    let hiddenWidth: Int
    /// Chunks of the longest sequence's keys.
    let chunkCount: Int

    init(
        rows: Int, width: Int, headCount: Int, keyValueHeadCount: Int, headDimension: Int, hiddenWidth: Int,
        keyCount: Int
    ) {
        (self.rows, self.width, self.headCount, self.keyValueHeadCount) = (rows, width, headCount, keyValueHeadCount)
        (self.headDimension, self.hiddenWidth) = (headDimension, hiddenWidth)
        chunkCount = blocks(of: keyCount, by: DecodeAttention<Float>.chunkLength)
    }

    /// `H·D`.
    var headsWidth: Int { headCount * headDimension }
    /// `(H + 2G)·D`: of queries, keys and values side by side.
    var projectedWidth: Int { (headCount + 2 * keyValueHeadCount) * headDimension }
}

// What follows holds addresses alone: a tensor that a thread takes out of an array is counted as held, by all threads in
// one place.

private struct NormPointers {
    let weight: UnsafePointer<Float>
    let epsilon: Double

    init(_ norm: DecoderStep.RMSNorm) {
        weight = UnsafePointer(norm.weight.pointer(as: Float.self))
        epsilon = norm.epsilon
    }
}

/// A quantised matrix in panels.
private struct MatrixPointers {
    let panels: UnsafeMutableRawPointer
    let type: sattn_weight_type
    let rowCount: Int
    let columnCount: Int

    init(_ matrix: WeightMatrix) {
        panels = matrix.panels.base
        type = matrix.format.kernelType
        (rowCount, columnCount) = (matrix.rowCount, matrix.columnCount)
    }

    var panelCount: Int { blocks(of: rowCount, by: quantizedPanelRows) }

    /// The matrix's rows that some panels hold.
    func outputs(_ panels: Range<Int>) -> Range<Int> {
        panels.lowerBound * quantizedPanelRows..<min(rowCount, panels.upperBound * quantizedPanelRows)
    }

    /// Writes the products of `rows` vectors with the matrix's rows in some panels.
    func multiply(
        _ rows: Int, _ input: QuantizedPointers, panels range: Range<Int>, into out: UnsafeMutablePointer<Float>,
        stride: Int
    ) {
        guard !range.isEmpty, let multiply = Kernels.current.quantized_product else { return }
        let outputs = outputs(range)
        multiply(
            out + outputs.lowerBound, stride, input.quants, input.scales, input.sums,
            panels + range.lowerBound * sattn_panel_byte_count(type, columnCount), type, rows, outputs.count,
            columnCount)
    }
}

/// Vectors in 8 bits, as `quantize` writes them, side by side.
private struct QuantizedPointers {
    let quants: UnsafeMutablePointer<Int8>
    let scales: UnsafeMutablePointer<Float>
    let sums: UnsafeMutablePointer<Float>

    /// Quantises elements from one on, a multiple of the block.
    func quantize(_ x: UnsafePointer<Float>, _ count: Int, at start: Int) {
        let block = start / Int(SATTN_ACTIVATION_BLOCK)
        Kernels.current.quantize(quants + start, scales + block, sums + block, x, count)
    }
}

private struct LayerPointers {
    let attentionNorm: NormPointers
    let query: MatrixPointers
    let key: MatrixPointers
    let value: MatrixPointers
    let output: MatrixPointers
    let feedForwardNorm: NormPointers
    let gate: MatrixPointers
    let up: MatrixPointers
    let down: MatrixPointers
    let cache: CachePlace

    init(_ layer: DecoderStep.Layer, _ cache: CachePlace) {
        attentionNorm = NormPointers(layer.attentionNorm)
        query = MatrixPointers(layer.projections[0])
        key = MatrixPointers(layer.projections[1])
        value = MatrixPointers(layer.projections[2])
        output = MatrixPointers(layer.output)
        feedForwardNorm = NormPointers(layer.feedForwardNorm)
        gate = MatrixPointers(layer.gate)
        up = MatrixPointers(layer.up)
        down = MatrixPointers(layer.down)
        self.cache = cache
    }
}

/// The memory of a step.
private struct Scratch {
    /// The residual stream, `[B, M]`.
    let stream: UnsafeMutablePointer<Float>
    /// What is added to it, or the stream normalised, `[B, M]`.
    let added: UnsafeMutablePointer<Float>
    /// Queries, keys and values, `[B, (H + 2G)·D]`.
    let projected: UnsafeMutablePointer<Float>
    /// What the heads return, `[B, H·D]`.
    let heads: UnsafeMutablePointer<Float>
    /// `[B, F]`.
    let gate: UnsafeMutablePointer<Float>
    /// `[B, F]`.
    let up: UnsafeMutablePointer<Float>
    /// The greatest score of each chunk, `[B, H, chunks]`.
    let maxima: UnsafeMutablePointer<Float>
    /// The sum of each chunk's exponentials.
    let sums: UnsafeMutablePointer<Float>
    /// The weighted sum of each chunk's values, `[B, H, chunks, D]`.
    let averages: UnsafeMutablePointer<Float>
    /// The next products' input, of width `M` or `H·D`.
    let input: QuantizedPointers
    /// The input of the last product of a layer, of width `F`.
    let hidden: QuantizedPointers

    static func with(_ shape: StepShape, _ body: (Scratch) -> Void) {
        let (rows, block) = (shape.rows, Int(SATTN_ACTIVATION_BLOCK))
        let chunks = rows * shape.headCount * shape.chunkCount
        let (input, hidden) = (rows * max(shape.width, shape.headsWidth), rows * shape.hiddenWidth)
        // In floats, each rounded to whole cache lines; 8-bit numbers take a quarter.
        let counts = [
            rows * shape.width, rows * shape.width, rows * shape.projectedWidth, rows * shape.headsWidth,
            hidden, hidden, chunks, chunks, chunks * shape.headDimension,
            input / 4, input / block, input / block, hidden / 4, hidden / block, hidden / block,
        ].map { blocks(of: $0 + 1, by: 16) * 16 }
        withUnsafeTemporaryAllocation(byteCount: counts.reduce(0, +) * 4, alignment: 64) { buffer in
            guard var next = buffer.baseAddress?.assumingMemoryBound(to: Float.self) else { return }
            let starts = counts.map { count in
                defer { next += count }
                return next
            }
            body(
                Scratch(
                    stream: starts[0], added: starts[1], projected: starts[2], heads: starts[3], gate: starts[4],
                    up: starts[5], maxima: starts[6], sums: starts[7], averages: starts[8],
                    input: QuantizedPointers(
                        quants: UnsafeMutableRawPointer(starts[9]).assumingMemoryBound(to: Int8.self),
                        scales: starts[10], sums: starts[11]),
                    hidden: QuantizedPointers(
                        quants: UnsafeMutableRawPointer(starts[12]).assumingMemoryBound(to: Int8.self),
                        scales: starts[13], sums: starts[14])))
        }
    }
}

/// What the threads do.
private struct Run: @unchecked Sendable {
    // Safe: a part writes places of its own, and `finish` runs alone.
    let layers: UnsafeBufferPointer<LayerPointers>
    let finalNorm: NormPointers
    let output: MatrixPointers
    let logits: UnsafeMutablePointer<Float>
    let shape: StepShape
    let scratch: Scratch
    /// Where each sequence's token stands, which is how many there are before it.
    let positions: UnsafeBufferPointer<Int>
    let cosines: UnsafePointer<Float>
    let sines: UnsafePointer<Float>
    let pairCount: Int
    let layout: RotaryEmbedding.Layout

    /// The steps of a layer, in their order.
    private enum Stage: Int, CaseIterable {
        case project, attend, mix, gate, down
    }

    /// The layers' steps, and that of the logits.
    var stepCount: Int { layers.count * Stage.allCases.count + 1 }

    /// Pieces of each step: some for each thread, since another program may take one's time.
    let partCount = 4 * ComputeThreads.count

    private func stage(_ step: Int) -> (layer: LayerPointers, stage: Stage)? {
        let (index, place) = step.quotientAndRemainder(dividingBy: Stage.allCases.count)
        guard index < layers.count, let stage = Stage(rawValue: place) else { return nil }
        return (layers[index], stage)
    }

    /// A part's share of a step's panels, or whatever there are.
    private func share(_ part: Int, of count: Int) -> Range<Int> {
        part * count / partCount..<(part + 1) * count / partCount
    }

    /// What is done before the first step.
    func begin() { normalize(layers.first?.attentionNorm ?? finalNorm) }

    func compute(_ step: Int, part: Int) {
        guard let (layer, stage) = stage(step) else {
            let panels = share(part, of: output.panelCount)
            output.multiply(shape.rows, scratch.input, panels: panels, into: logits, stride: output.rowCount)
            return
        }
        switch stage {
        case .project: project(layer, part)
        case .attend: attend(layer, part)
        case .mix: add(layer.output, scratch.input, part)
        case .gate: gate(layer, part)
        case .down: add(layer.down, scratch.hidden, part)
        }
    }

    func finish(_ step: Int) {
        guard let (layer, stage) = stage(step) else { return }
        switch stage {
        case .project: rotateAndStore(layer)
        case .attend: joinHeads()
        case .mix: normalize(layer.feedForwardNorm)
        case .gate: break
        case .down:
            let next = step / Stage.allCases.count + 1
            normalize(next < layers.count ? layers[next].attentionNorm : finalNorm)
        }
    }

    /// Normalises the stream, and quantises it as the next products' input.
    private func normalize(_ norm: NormPointers) {
        for row in 0..<shape.rows {
            let x = scratch.stream + row * shape.width
            let out = scratch.added + row * shape.width
            let factor = inverseRootMeanSquare(of: x, shape.width, epsilon: norm.epsilon)
            writeNormalized(x, shape.width, factor, norm.weight, into: out)
        }
        scratch.input.quantize(scratch.added, shape.rows * shape.width, at: 0)
    }

    /// Computes queries, keys and values.
    private func project(_ layer: LayerPointers, _ part: Int) {
        var (firstPanel, firstColumn) = (0, 0)
        let share = share(part, of: layer.query.panelCount + layer.key.panelCount + layer.value.panelCount)
        for index in 0..<3 {
            let matrix = index == 0 ? layer.query : index == 1 ? layer.key : layer.value
            let panels = share.clamped(to: firstPanel..<firstPanel + matrix.panelCount)
            matrix.multiply(
                shape.rows, scratch.input, panels: panels.lowerBound - firstPanel..<panels.upperBound - firstPanel,
                into: scratch.projected + firstColumn, stride: shape.projectedWidth)
            firstPanel += matrix.panelCount
            firstColumn += matrix.rowCount
        }
    }

    /// Rotates queries and keys, and appends keys and values to the cache.
    private func rotateAndStore(_ layer: LayerPointers) {
        let (heads, groups, width) = (shape.headCount, shape.keyValueHeadCount, shape.headDimension)
        for row in 0..<shape.rows {
            let projected = scratch.projected + row * shape.projectedWidth
            for head in 0..<heads + groups {
                rotatePairs(
                    of: projected + head * width, cosines + row * pairCount, sines + row * pairCount, pairCount,
                    direction: 1, layout)
            }
            for group in 0..<groups {
                layer.cache.store(
                    key: projected + (heads + group) * width, value: projected + (heads + groups + group) * width, row,
                    group, at: positions[row])
            }
        }
    }

    /// Attends to some chunks of keys.
    private func attend(_ layer: LayerPointers, _ part: Int) {
        let (heads, groups, width) = (shape.headCount, shape.keyValueHeadCount, shape.headDimension)
        let (groupSize, chunkLength) = (heads / groups, DecodeAttention<Float>.chunkLength)
        let scale = Float(1 / Double(width).squareRoot())
        withUnsafeTemporaryAllocation(of: Float.self, capacity: groupSize * chunkLength) { buffer in
            guard let scores = buffer.baseAddress else { return }
            for item in share(part, of: shape.rows * groups * shape.chunkCount) {
                let (sequence, chunk) = item.quotientAndRemainder(dividingBy: shape.chunkCount)
                let (row, group) = sequence.quotientAndRemainder(dividingBy: groups)
                // A shorter sequence of the batch has fewer chunks.
                guard chunk * chunkLength <= positions[row] else { continue }
                let keys = range(chunk, by: chunkLength, upTo: positions[row] + 1)
                let queries = scratch.projected + row * shape.projectedWidth + group * groupSize * width
                Float.dotStored(
                    scores, chunkLength, queries, width, layer.cache.keys(row, group, from: keys.lowerBound), groupSize,
                    keys.count, width)
                let first = (row * heads + group * groupSize) * shape.chunkCount + chunk
                for head in 0..<groupSize {
                    let weights = scores + head * chunkLength
                    let index = first + head * shape.chunkCount
                    Float.scale(weights, keys.count, by: scale)
                    let maximum = Float.maximum(weights, keys.count)
                    scratch.maxima[index] = maximum
                    scratch.sums[index] = Float.expSum(weights, keys.count, shift: maximum)
                    (scratch.averages + index * width).update(repeating: 0, count: width)
                }
                Float.productAddStored(
                    scratch.averages + first * width, shape.chunkCount * width, scores, chunkLength,
                    layer.cache.values(row, group, from: keys.lowerBound), groupSize, width, keys.count)
            }
        }
    }

    /// Joins the chunks, and quantises what the heads return.
    private func joinHeads() {
        let width = shape.headDimension
        scratch.heads.update(repeating: 0, count: shape.rows * shape.headsWidth)
        for row in 0..<shape.rows {
            let chunkCount = blocks(of: positions[row] + 1, by: DecodeAttention<Float>.chunkLength)
            for head in row * shape.headCount..<(row + 1) * shape.headCount {
                let first = head * shape.chunkCount
                let average = scratch.heads + head * width
                let (_, sum) = joinChunks(
                    chunkCount, scratch.maxima + first, scratch.sums + first, scratch.averages + first * width,
                    width: width, from: (-.infinity, 0), into: average)
                for index in 0..<width { average[index] /= sum }
            }
        }
        scratch.input.quantize(scratch.heads, shape.rows * shape.headsWidth, at: 0)
    }

    /// Multiplies by a matrix, and adds the products to the stream.
    private func add(_ matrix: MatrixPointers, _ input: QuantizedPointers, _ part: Int) {
        let panels = share(part, of: matrix.panelCount)
        matrix.multiply(shape.rows, input, panels: panels, into: scratch.added, stride: shape.width)
        let outputs = matrix.outputs(panels)
        for row in 0..<shape.rows {
            let stream = scratch.stream + row * shape.width + outputs.lowerBound
            Float.add(stream, stream, scratch.added + row * shape.width + outputs.lowerBound, outputs.count)
        }
    }

    /// Computes `silu(gate(x)) · up(x)`, and quantises it.
    private func gate(_ layer: LayerPointers, _ part: Int) {
        let panels = share(part, of: layer.gate.panelCount)
        let width = layer.gate.rowCount
        layer.gate.multiply(shape.rows, scratch.input, panels: panels, into: scratch.gate, stride: width)
        layer.up.multiply(shape.rows, scratch.input, panels: panels, into: scratch.up, stride: width)
        let outputs = layer.gate.outputs(panels)
        for row in 0..<shape.rows {
            let start = row * width + outputs.lowerBound
            let gate = scratch.gate + start
            Float.silu(gate, gate, outputs.count)
            Float.multiply(gate, gate, scratch.up + start, outputs.count)
            scratch.hidden.quantize(gate, outputs.count, at: start)
        }
    }
}
