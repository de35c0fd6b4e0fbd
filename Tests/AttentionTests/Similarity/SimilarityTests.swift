import Attention
import Testing

@Suite struct Similarities {
    private let query = [1.0, -2, 2]
    private let key = [3.0, 0, -4]

    private func score(_ similarity: some Similarity) -> Double {
        similarity.score(query: query.span, key: key.span)
    }

    // q·k = -5, |q| = 3, |k| = 5, q - k = (-2, -2, 6).
    @Test func `scores are those worked out by hand`() {
        #expect(score(.dot) == -5)
        #expect(abs(score(.scaledDotProduct) + 5 / 3.0.squareRoot()) < 1e-15)
        #expect(score(.scaledDotProduct(scale: -2)) == 10)
        #expect(score(.scaledDotProduct(scale: 0)) == 0)
        #expect(abs(score(.cosine(temperature: 0.5)) + 2 / 3.0) < 1e-15)
        #expect(score(.negativeSquaredEuclidean) == -44)
        #expect(score(.negativeSquaredEuclidean(scale: 0.25)) == -11)
        #expect(score(.gaussian(bandwidth: 2)) == -5.5)
        #expect(score(.laplacian(bandwidth: 4)) == -2.5)
    }

    @Test func `general is a bilinear form of vectors of any two lengths`() {
        // W is [3, 2]; qᵀW = [1 - 6 + 10, 2 - 8 + 12] = [5, 6].
        let weight = Tensor([1.0, 2, 3, 4, 5, 6], shape: [3, 2])
        let key = [10.0, -1]
        #expect(General(weight: weight).score(query: query.span, key: key.span) == 44)
        let transposed = Tensor([1.0, 3, 5, 2, 4, 6], shape: [2, 3]).transposed(0, 1)
        #expect(General(weight: transposed).score(query: query.span, key: key.span) == 44)
    }

    @Test func `additive is a weighted sum of tanh`() {
        let measure = Additive(
            queryWeight: Tensor([1.0, 1, 1, 0, 1, 0], shape: [2, 3]),
            keyWeight: Tensor([0.5, 0, 0, 0, 0, 0.25], shape: [2, 3]),
            scoreWeight: Tensor([2.0, -3], shape: [2]),
            bias: Tensor([-1.5, 0.5], shape: [2]))
        // W_q q = (1, -2), W_k k = (1.5, -1), with b: (1, -2.5).
        #expect(abs(score(measure) - (2 * .tanh(1) - 3 * .tanh(-2.5))) < 1e-15)
    }

    @Test func `the linear additive form is a sum of two products`() {
        let measure = LinearAdditive(
            queryWeight: Tensor([1.0, 1, 2], shape: [3]), keyWeight: Tensor([2.0, 7, 1], shape: [3]))
        #expect(score(measure) == 3 + 2)
    }

    // The query's part is the same for every key.
    @Test func `in the linear additive form the weights do not depend on the query`() {
        let sizes = OperandSizes()
        let (queries, keys, values) = sizes.operands(seed: 111, as: .float64)
        let weights = AttentionOperation(similarity: Measure.linearAdditive.similarity(for: sizes))(
            queries: queries, keys: keys, values: values, returning: AttentionRequest(weights: 0..<11)
        ).weights
        let first = weights?.slice(axis: 2, range: 0..<1).doubles ?? []
        for query in 1..<11 {
            expectNear(weights?.slice(axis: 2, range: query..<query + 1), first, within: 1e-12)
        }
    }

    @Test func `the cosine of a zero vector is zero and of huge and tiny ones exact`() {
        let zero = [0.0, 0, 0]
        #expect(Cosine().score(query: zero.span, key: key.span) == 0)
        let queries = Tensor([Float(3e30), 4e30, 3e-30, 4e-30, 0, 0], shape: [1, 1, 3, 2])
        let keys = Tensor([Float(1), 0, 0, 2e30], shape: [1, 1, 2, 2])
        let scores = AttentionOperation(similarity: .cosine())(
            queries: queries, keys: keys, values: keys, returning: AttentionRequest(scores: .similarity)
        ).scores
        expectNear(scores, [0.6, 0.8, 0.6, 0.8, 0, 0], within: 1e-6)
    }

    // ‖q - k‖² of vectors close together and far from the origin: 2 q·k - ‖q‖² - ‖k‖² would keep no digit.
    @Test func `distances do not cancel far from the origin`() {
        let queries = Tensor([Float](repeating: 1000, count: 17), shape: [1, 1, 17, 1])
        let keys = Tensor([Float(1000.25), 999.5, 1000], shape: [1, 1, 3, 1])
        for (similarity, expected) in [
            (.negativeSquaredEuclidean as any Similarity, [-0.0625, -0.25, 0]),
            (Laplacian(), [-0.25, -0.5, 0]),
        ] {
            let scores = AttentionOperation(similarity: similarity)(
                queries: queries, keys: keys, values: keys, returning: AttentionRequest(scores: .similarity)
            ).scores
            #expect(scores?.slice(axis: 2, range: 16..<17).doubles == expected)
        }
    }
}
