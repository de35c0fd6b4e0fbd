import Attention
import Testing

@Suite struct `Attention shape` {
    @Test func `sizes are read off the operands`() {
        let shape = AttentionShape(
            queries: Tensor(zeros: [2, 6, 11, 7]), keys: Tensor(zeros: [2, 3, 13, 5]),
            values: Tensor(zeros: [2, 3, 13, 17]))
        #expect(shape.batchCount == 2 && shape.headCount == 6 && shape.keyValueHeadCount == 3)
        #expect(shape.queryCount == 11 && shape.keyCount == 13)
        #expect(shape.queryDimension == 7 && shape.keyDimension == 5 && shape.valueDimension == 17)
        #expect(shape.groupSize == 2)
    }

    @Test func `shapes that agree have no problem`() {
        #expect(
            AttentionShape.problem(queries: [2, 6, 11, 7], keys: [2, 3, 13, 5], values: [2, 3, 13, 17]) == nil
        )
        #expect(
            AttentionShape.problem(queries: [0, 0, 0, 0], keys: [0, 0, 0, 0], values: [0, 0, 0, 0]) == nil)
    }

    @Test(arguments: [
        ([6, 11, 7], [2, 3, 13, 7], [2, 3, 13, 7], ["Queries", "[6, 11, 7]", "4 dimensions"]),
        ([2, 6, 11, 7], [2, 3, 13, 7], [2, 3, 13], ["Values", "[2, 3, 13]", "4 dimensions"]),
        ([2, 6, 11, 7], [1, 3, 13, 7], [1, 3, 13, 7], ["[2, 6, 11, 7]", "[1, 3, 13, 7]", "batch"]),
        ([2, 6, 11, 7], [2, 3, 13, 7], [2, 6, 13, 7], ["[2, 3, 13, 7]", "[2, 6, 13, 7]"]),
        ([2, 6, 11, 7], [2, 3, 13, 7], [2, 3, 12, 7], ["[2, 3, 13, 7]", "[2, 3, 12, 7]"]),
        (
            [2, 6, 11, 7], [2, 4, 13, 7], [2, 4, 13, 7], ["[2, 6, 11, 7]", "[2, 4, 13, 7]", "do not divide"]
        ),
        ([2, 6, 11, 7], [2, 0, 13, 7], [2, 0, 13, 7], ["[2, 6, 11, 7]", "[2, 0, 13, 7]"]),
    ])
    func `a problem names both shapes`(queries: [Int], keys: [Int], values: [Int], parts: [String]) {
        let problem = AttentionShape.problem(queries: queries, keys: keys, values: values) ?? ""
        for part in parts { #expect(problem.contains(part)) }
    }
}
