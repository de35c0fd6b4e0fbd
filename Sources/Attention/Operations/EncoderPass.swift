internal import CAttentionKernels

/// The layers of an encoder in the manner of BERT, on sequences of any lengths side by side, without padding.
///
/// Layers of attention and a feed-forward block with biases, each added to the stream and then normalised: Devlin et al.,
/// "BERT", 2018 (arXiv:1810.04805). All rows go through a product at once; sequences of one length attend at once.
///
/// The weights are packed once, as float32, or as bfloat16: then activations are rounded to it before each product and
/// attention, and sums, norms and the stream between them stay float32. A row's bits depend on its own sequence alone.
///
/// `N` rows, `M` width, `H` heads, `F` feed-forward width.
package struct EncoderPass: Sendable {
    /// A linear layer: `[outputs, inputs]`, and `[outputs]`.
    package typealias Linear = (weight: WeightMatrix, bias: Tensor)

    /// A layer normalisation.
    package struct Norm: Sendable {
        let weight: Tensor
        let bias: Tensor
        let epsilon: Double

        /// Creates a norm.
        ///
        /// - Parameters:
        ///   - weight: `[M]`, float32.
        ///   - bias: `[M]`, float32.
        ///   - epsilon: Added to the variance.
        package init(weight: Tensor, bias: Tensor, epsilon: Double) {
            self.weight = weight.detached.contiguous()
            self.bias = bias.detached.contiguous()
            self.epsilon = epsilon
        }
    }

    /// What stands between the feed-forward block's products.
    package enum Activation: Sendable {
        case relu, gelu, geluTanh

        func apply(_ x: UnsafeMutablePointer<Float>, _ count: Int) {
            switch self {
            case .relu: Float.relu(x, x, count)
            case .gelu: Float.gelu(x, x, count)
            case .geluTanh: Float.geluTanh(x, x, count)
            }
        }
    }

    /// One layer.
    package struct Layer: Sendable {
        fileprivate let projections: PackedLinear
        fileprivate let output: PackedLinear
        fileprivate let attentionNorm: Norm
        fileprivate let up: PackedLinear
        fileprivate let down: PackedLinear
        fileprivate let feedForwardNorm: Norm

        /// Packs a layer's weights.
        ///
        /// - Parameters:
        ///   - projections: Of queries, keys and values, `[M, M]` each.
        ///   - output: `[M, M]`.
        ///   - attentionNorm: The norm after attention.
        ///   - up: `[F, M]`.
        ///   - down: `[M, F]`.
        ///   - feedForwardNorm: The norm after the feed-forward block.
        ///   - elementType: What products multiply: float32 or bfloat16.
        package init(
            projections: [Linear], output: Linear, attentionNorm: Norm, up: Linear, down: Linear,
            feedForwardNorm: Norm, elementType: ElementType
        ) {
            self.projections = PackedLinear(projections, elementType)
            self.output = PackedLinear([output], elementType)
            self.attentionNorm = attentionNorm
            self.up = PackedLinear([up], elementType)
            self.down = PackedLinear([down], elementType)
            self.feedForwardNorm = feedForwardNorm
        }
    }

    private let layers: [Layer]
    private let headCount: Int
    private let activation: Activation
    private let elementType: ElementType

    /// Creates a pass.
    ///
    /// - Parameters:
    ///   - layers: The first first, all of one element type.
    ///   - headCount: `H`, which divides `M`.
    ///   - activation: What stands between the feed-forward block's products.
    ///   - elementType: What products multiply: float32 or bfloat16.
    package init(layers: [Layer], headCount: Int, activation: Activation, elementType: ElementType) {
        self.layers = layers
        self.headCount = headCount
        self.activation = activation
        self.elementType = elementType
    }

    /// Returns the stream after the last layer.
    ///
    /// - Parameters:
    ///   - embeddings: `[N, M]`, the sequences' rows one after the other.
    ///   - lengths: How many rows each sequence has; those of one length are best neighbours.
    /// - Returns: `[N, M]`, float32.
    package func callAsFunction(_ embeddings: Tensor, lengths: [Int]) -> Tensor {
        let (rows, width) = (embeddings.shape[0], embeddings.shape[1])
        require(
            lengths.reduce(0, +) == rows && lengths.allSatisfy { $0 >= 0 },
            "Sequences of \(lengths) tokens are not the \(rows) rows that there are.")
        var stream = embeddings.converted(to: .float32)
        stream.makeUnique()
        guard rows > 0, let first = layers.first else { return stream }
        let x = stream.pointer(as: Float.self)
        // With float32 the stream is what products read; else there is a second one, rounded.
        let rounded = elementType == .bfloat16 ? Tensor(uninitialized: [rows, width], elementType: .bfloat16) : stream
        if elementType == .bfloat16 {
            let target = rounded.pointer(as: UInt16.self)
            forEachPiece(of: rows * width) { piece in
                Kernels.current.encode_bfloat16(target + piece.lowerBound, x + piece.lowerBound, piece.count)
            }
        }
        let projected = Tensor(uninitialized: [rows, 3 * width], elementType: elementType)
        let attended = Tensor(uninitialized: [rows, width], elementType: elementType)
        let hidden = Tensor(uninitialized: [rows, first.up.columns], elementType: elementType)
        let sums = Tensor(uninitialized: [rows, width], elementType: .float32)
        for layer in layers {
            layer.projections.multiply(rounded, into: projected)
            attend(projected, lengths, into: attended)
            layer.output.multiply(attended, into: sums)
            addAndNormalize(sums, layer.attentionNorm, stream, rounded)
            layer.up.multiply(rounded, into: hidden, applying: activation)
            layer.down.multiply(hidden, into: sums)
            addAndNormalize(sums, layer.feedForwardNorm, stream, rounded)
        }
        return stream
    }

    /// Lets the rows of each sequence attend to each other.
    private func attend(_ projected: Tensor, _ lengths: [Int], into output: Tensor) {
        let width = output.shape[1]
        let dimension = width / headCount
        var (sequence, row) = (0, 0)
        while sequence < lengths.count {
            let length = lengths[sequence]
            var end = sequence
            while end < lengths.count && lengths[end] == length { end += 1 }
            let count = end - sequence
            /// `[count, H, length, D]`, as it lies among rows of `stride` elements.
            func heads(of tensor: Tensor, from column: Int, stride: Int) -> Tensor {
                Tensor(
                    shape: [count, headCount, length, dimension], strides: [length * stride, dimension, stride, 1],
                    elementType: tensor.elementType, storage: tensor.storage,
                    offset: tensor.offset + row * stride + column)
            }
            if length > 0 {
                let operands = (0..<3).map { heads(of: projected, from: $0 * width, stride: 3 * width) }
                let operation = AttentionOperation()
                let shape = operation.validated(queries: operands[0], keys: operands[1], values: operands[2])
                _ = TiledAttention<Float>(operation, shape, operands[0], operands[1], operands[2])
                    .run(into: heads(of: output, from: 0, stride: width))
            }
            row += count * length
            sequence = end
        }
    }

    /// Adds sums to the stream, and normalises each row: `stream = norm(stream + sums)`.
    private func addAndNormalize(_ sums: Tensor, _ norm: Norm, _ stream: Tensor, _ rounded: Tensor) {
        let (rows, width) = (stream.shape[0], stream.shape[1])
        let (x, addend) = (stream.pointer(as: Float.self), sums.pointer(as: Float.self))
        let (weight, bias) = (norm.weight.pointer(as: Float.self), norm.bias.pointer(as: Float.self))
        let blockLength = 16
        parallel(blocks(of: rows, by: blockLength)) { block in
            for row in range(block, by: blockLength, upTo: rows) {
                let start = x + row * width
                Float.add(start, UnsafePointer(start), addend + row * width, width)
                _ = Float.layerNorm(start, UnsafePointer(start), weight, bias, width, epsilon: norm.epsilon)
                if elementType == .bfloat16 {
                    Kernels.current.encode_bfloat16(rounded.pointer(as: UInt16.self) + row * width, start, width)
                }
            }
        }
        withExtendedLifetime((norm, sums, stream, rounded)) {}
    }
}

/// Linear layers of one input, side by side, their weights packed once.
private struct PackedLinear: Sendable {
    private enum Weights: Sendable {
        case float32(PackedMatrix<Float>)
        case bfloat16(PackedPairs)
    }

    let columns: Int
    private let depth: Int
    private let weights: Weights
    private let bias: Tensor

    init(_ layers: [EncoderPass.Linear], _ elementType: ElementType) {
        let matrices = layers.map { $0.weight.decoded.detached.converted(to: elementType) }
        let weight = Tensor.concatenated(matrices, axis: 0).converted(to: elementType).contiguous()
        bias = Tensor.concatenated(layers.map { $0.bias.detached.converted(to: .float32) }, axis: 0).contiguous()
        (columns, depth) = (weight.shape[0], weight.shape[1])
        weights =
            elementType == .bfloat16
            ? .bfloat16(PackedPairs(weight))
            : .float32(
                PackedMatrix(
                    MatrixOperand(transposed: weight.pointer(as: Float.self), rowStride: depth), depth: depth,
                    columns: columns))
        withExtendedLifetime(weight) {}
    }

    /// Writes `x Wᵀ + b`, or what an activation makes of it, as `out` stores it.
    ///
    /// Sums are made, and begun or ended with the bias, as ``linear(_:weight:bias:)`` does for numbers of the type.
    func multiply(_ x: Tensor, into out: Tensor, applying activation: EncoderPass.Activation? = nil) {
        let rows = x.shape[0]
        let biases = UnsafePointer(bias.pointer(as: Float.self))
        defer { withExtendedLifetime((x, out, self)) {} }
        switch weights {
        case .float32(let packed):
            var finish: ((UnsafeMutablePointer<Float>, Int) -> Void)?
            if let activation { finish = { activation.apply($0, $1) } }
            Attention.multiply(
                MatrixOperand(rows: UnsafePointer(x.pointer(as: Float.self)), rowStride: depth), packed, rows: rows,
                into: out.pointer(as: Float.self), outStride: columns, bias: biases, finishing: finish)
        case .bfloat16(let packed):
            packed.multiply(x.base, rows: rows, depth: depth) { m, n, multiply in
                // Rows 16 floats further apart than they are long do not all want the same places of the cache: MiniLM reads
                // 32 texts of 128 tokens at 29,900 tokens a second so, at 18,400 without (AMX, two threads).
                let stride = n.count + 16
                withUnsafeTemporaryAllocation(of: Float.self, capacity: max(1, m.count * stride)) { buffer in
                    guard let sums = buffer.baseAddress else { return }
                    multiply(sums, stride)
                    for row in 0..<m.count {
                        let (sum, bias) = (sums + row * stride, biases + n.lowerBound)
                        let place = (m.lowerBound + row) * columns + n.lowerBound
                        guard out.elementType == .bfloat16 else {
                            Kernels.current.add(out.pointer(as: Float.self) + place, sum, bias, n.count)
                            continue
                        }
                        Kernels.current.add(sum, sum, bias, n.count)
                        activation?.apply(sum, n.count)
                        Kernels.current.encode_bfloat16(out.pointer(as: UInt16.self) + place, sum, n.count)
                    }
                }
            }
        }
    }
}
