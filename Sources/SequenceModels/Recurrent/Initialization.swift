internal import Attention

/// Where the parameters of a recurrent layer start.
///
/// How long a recurrent network remembers is for a good part a matter of this. There are two biases, of which the
/// initialisations of gates set the first: what is set in both counts twice.
public struct RecurrentInitialization: Sendable, Hashable {
    /// The weights.
    public enum Weights: Sendable, Hashable {
        /// Even from `-1/√H` to `1/√H`, projections as well: PyTorch's.
        case uniform
        /// The recurrent weights of each gate orthogonal (Saxe et al., 2013, arXiv:1312.6120), so that a state neither
        /// grows nor fades; those of the inputs even from `-√(6/(D+H))` to `√(6/(D+H))` (Glorot and Bengio, 2010).
        case orthogonal
        /// The recurrent weights of each gate the identity times a number, those of the inputs normal with a deviation
        /// of 0.001 (Le et al., 2015, arXiv:1504.00941).
        case identity(scale: Double)
    }

    /// The biases.
    public enum Biases: Sendable, Hashable {
        /// Even from `-1/√H` to `1/√H`: PyTorch's.
        case uniform
        /// 0.
        case zero
        /// A number for the gate that keeps what is remembered, an LSTM's forget gate or a GRU's update gate, else 0
        /// (Jozefowicz et al., 2015: 1).
        case forget(Double)
        /// Such that the units forget after times spread evenly up to the longest, on a scale of logarithms:
        /// `log U[1, longest - 1]` for the gate that keeps what is remembered and its negative for an LSTM's input gate,
        /// else 0 (Tallec and Ollivier, 2018, arXiv:1804.11188).
        case chrono(longest: Int)
    }

    /// How the weights start.
    public var weights: Weights
    /// How the biases start.
    public var biases: Biases

    /// Combines the two.
    ///
    /// - Parameters:
    ///   - weights: How the weights start.
    ///   - biases: How the biases start.
    public init(weights: Weights, biases: Biases) {
        self.weights = weights
        self.biases = biases
    }

    /// PyTorch's: everything even from `-1/√H` to `1/√H`.
    public static let uniform = RecurrentInitialization(weights: .uniform, biases: .uniform)

    /// Orthogonal recurrent weights, biases of 0.
    public static let orthogonal = RecurrentInitialization(weights: .orthogonal, biases: .zero)

    /// Orthogonal recurrent weights, and a bias of 1 for the gate that keeps what is remembered.
    public static let forgetBias = RecurrentInitialization(weights: .orthogonal, biases: .forget(1))

    /// Returns the initialisation of the IRNN: identity for the recurrent weights, small ones for the inputs.
    ///
    /// - Parameter scale: What the identity is multiplied by.
    /// - Returns: An initialisation with biases of 0.
    public static func identity(scale: Double = 1) -> RecurrentInitialization {
        RecurrentInitialization(weights: .identity(scale: scale), biases: .zero)
    }

    /// Returns the initialisation for remembering up to a known time.
    ///
    /// - Parameter longest: The longest time between what depends on one another, in steps; at least 2.
    /// - Returns: An initialisation with orthogonal recurrent weights.
    public static func chrono(longest: Int) -> RecurrentInitialization {
        RecurrentInitialization(weights: .orthogonal, biases: .chrono(longest: longest))
    }

    // MARK: - Parameters

    /// Returns the parameters of all layers and directions.
    func weights(
        for configuration: RecurrentConfiguration, cell: RecurrentCell, hasPeepholes: Bool = false,
        random: inout RandomStream
    ) -> [RecurrentWeights] {
        let (units, width) = (configuration.hiddenDimension, configuration.stateDimension)
        let bound = 1 / Double(units).squareRoot()
        return (0..<configuration.layerCount * configuration.direction.count).map { index in
            let inputs = configuration.inputDimension(ofLayer: index / configuration.direction.count)
            var result = RecurrentWeights(
                input: inputWeight([cell.gateCount * units, inputs], units: units, random: &random),
                hidden: hiddenWeight(gateCount: cell.gateCount, units: units, width: width, random: &random))
            if configuration.hasBias {
                result.inputBias = bias(of: cell, units: units, isFirst: true, random: &random)
                result.hiddenBias = bias(of: cell, units: units, isFirst: false, random: &random)
            } else {
                switch biases {
                case .uniform, .zero: break
                case .forget, .chrono: stop("Biases start as \(biases), but there are none.")
                }
            }
            if configuration.projectionDimension != nil {
                result.projection = random.uniform([width, units], bound: bound)
            }
            if hasPeepholes { result.peepholes = random.uniform([3 * units], bound: bound) }
            return result
        }
    }

    private func inputWeight(_ shape: [Int], units: Int, random: inout RandomStream) -> Tensor {
        switch weights {
        case .uniform: random.uniform(shape, bound: 1 / Double(units).squareRoot())
        case .orthogonal: random.uniform(shape, bound: (6 / Double(shape[1] + units)).squareRoot())
        case .identity: random.normal(shape, deviation: 0.001)
        }
    }

    private func hiddenWeight(gateCount: Int, units: Int, width: Int, random: inout RandomStream) -> Tensor {
        switch weights {
        case .uniform:
            return random.uniform([gateCount * units, width], bound: 1 / Double(units).squareRoot())
        case .orthogonal:
            let gates = (0..<gateCount).map { _ in
                orthogonalMatrix(rows: units, columns: width, random: &random)
            }
            return Tensor.concatenated(gates, axis: 0)
        case .identity(let scale):
            let elements = (0..<units * width).map { $0 / width == $0 % width ? Float(scale) : 0 }
            let gate = Tensor(elements, shape: [units, width])
            return Tensor.concatenated([Tensor](repeating: gate, count: gateCount), axis: 0)
        }
    }

    /// Returns one of the two biases.
    private func bias(of cell: RecurrentCell, units: Int, isFirst: Bool, random: inout RandomStream) -> Tensor {
        var values = [Float](repeating: 0, count: cell.gateCount * units)
        /// The gate that keeps what is remembered.
        func keepingGate() -> Int {
            switch cell {
            case .rnn: stop("Biases start as \(biases), but a plain recurrent network has no gates.")
            case .lstm, .gru: 1
            }
        }
        switch biases {
        case .uniform: return random.uniform([values.count], bound: 1 / Double(units).squareRoot())
        case .zero: break
        case .forget(let value):
            let gate = keepingGate()
            guard isFirst else { break }
            for unit in 0..<units { values[gate * units + unit] = Float(value) }
        case .chrono(let longest):
            let gate = keepingGate()
            require(longest >= 2, "The longest time to remember is \(longest) steps; it has to be at least 2.")
            guard isFirst else { break }
            for unit in 0..<units {
                let time = Double.random(in: 1...Double(longest - 1), using: &random)
                let value = Float(Double.log(time))
                values[gate * units + unit] = value
                if cell.hasCell { values[unit] = -value }
            }
        }
        return Tensor(values, shape: [values.count])
    }
}

/// Returns a matrix whose rows, or columns where they are fewer, are orthonormal and evenly distributed among such.
///
/// Gram and Schmidt's process on normally distributed vectors, each made orthogonal twice (Giraud et al., 2005).
private func orthogonalMatrix(rows: Int, columns: Int, random: inout RandomStream) -> Tensor {
    let (count, length) = (min(rows, columns), max(rows, columns))
    var vectors: [[Double]] = []
    while vectors.count < count {
        var vector = random.normal([length], deviation: 1).doubles
        for _ in 0..<2 {
            for other in vectors {
                var product = 0.0
                for index in 0..<length { product += vector[index] * other[index] }
                for index in 0..<length { vector[index] -= product * other[index] }
            }
        }
        let norm = vector.reduce(0) { $0 + $1 * $1 }.squareRoot()
        // Next to nothing is left of a vector that lay among the others: another one is drawn.
        if norm > 1e-6 { vectors.append(vector.map { $0 / norm }) }
    }
    let matrix = Tensor(vectors.flatMap { $0.map { Float($0) } }, shape: [count, length])
    return rows <= columns ? matrix : matrix.transposed(0, 1).contiguous()
}
