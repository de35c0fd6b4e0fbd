import Attention
import Testing

@Suite struct Masks {
    private let sizes = OperandSizes(queryCount: 11, keyCount: 13)

    private func picture(_ mask: AttentionMask, queryCount: Int, keyCount: Int, batch: Int = 0) -> [String] {
        (0..<queryCount).map { query in
            (0..<keyCount).map {
                MaskKind.allows(mask, batch: batch, head: 0, query: query, key: $0) ? "x" : "."
            }.joined()
        }
    }

    @Test func `a window reaches left and right of the position, both ends included`() {
        #expect(
            picture(.slidingWindow(left: 1, right: 2), queryCount: 4, keyCount: 5)
                == ["xxx..", "xxxx.", ".xxxx", "..xxx"])
        #expect(
            picture(.slidingWindow(left: 0, right: 0, offset: 2), queryCount: 3, keyCount: 5)
                == ["..x..", "...x.", "....x"])
        #expect(
            picture(.slidingWindow(left: nil, right: 1), queryCount: 3, keyCount: 4) == [
                "xx..", "xxx.", "xxxx",
            ])
        #expect(
            picture(.slidingWindow(left: 1, right: nil), queryCount: 3, keyCount: 4) == [
                "xxxx", "xxxx", ".xxx",
            ])
        #expect(picture(.slidingWindow(left: nil, right: nil), queryCount: 1, keyCount: 3) == ["xxx"])
        let each = AttentionMask.slidingWindow(left: 1, right: 0, offsets: [0, 2])
        #expect(picture(each, queryCount: 2, keyCount: 4, batch: 0) == ["x...", "xx.."])
        #expect(picture(each, queryCount: 2, keyCount: 4, batch: 1) == [".xx.", "..xx"])
    }

    @Test func `a prefix is seen by all, and with a causal mask makes a prefix language model`() {
        #expect(picture(.prefix(2), queryCount: 2, keyCount: 4) == ["xx..", "xx.."])
        #expect(picture(.prefix([1, 3]), queryCount: 1, keyCount: 4, batch: 1) == ["xxx."])
        #expect(
            picture(.prefix(2) | .causal(offset: 0), queryCount: 4, keyCount: 4) == [
                "xx..", "xx..", "xxx.", "xxxx",
            ])
    }

    @Test func `documents see themselves alone`() {
        #expect(
            picture(.documents([[7, 7, -1, 7]]), queryCount: 4, keyCount: 4) == [
                "xx.x", "xx.x", "..x.", "xx.x",
            ])
        #expect(
            picture(.documents(queries: [[2, 1]], keys: [[1, 1, 2]]), queryCount: 2, keyCount: 3) == [
                "..x", "xx.",
            ])
    }

    @Test func `lengths hide padding`() {
        #expect(picture(.lengths([3, 0]), queryCount: 1, keyCount: 4) == ["xxx."])
        #expect(picture(.lengths([3, 0]), queryCount: 1, keyCount: 4, batch: 1) == ["...."])
    }

    @Test func `a boolean mask is true where a key is seen, and broadcasts`() {
        let rows = AttentionMask.boolean(Tensor([true, false, true, false, true, true], shape: [2, 3]))
        #expect(picture(rows, queryCount: 2, keyCount: 3, batch: 5) == ["x.x", ".xx"])
        let transposed = AttentionMask.boolean(
            Tensor([true, false, true, false, true, true], shape: [3, 2]).transposed(0, 1))
        #expect(picture(transposed, queryCount: 2, keyCount: 3) == ["xxx", "..x"])
        #expect(picture(.boolean(Tensor([false], shape: [])), queryCount: 1, keyCount: 2) == [".."])
        let perSequence = AttentionMask.boolean(Tensor([true, false], shape: [2, 1, 1, 1]))
        #expect(picture(perSequence, queryCount: 1, keyCount: 2, batch: 1) == [".."])
    }

    @Test func `masks combine by intersection and union`() {
        let (causal, odd) = (
            AttentionMask.causal(offset: 0), AttentionMask.boolean(Tensor([false, true, false], shape: [3]))
        )
        #expect(picture(causal & odd, queryCount: 3, keyCount: 3) == ["...", ".x.", ".x."])
        #expect(picture(causal | odd, queryCount: 3, keyCount: 3) == ["xx.", "xx.", "xxx"])
        #expect(picture(causal & .none, queryCount: 2, keyCount: 2) == ["x.", "xx"])
        #expect(picture(.none & causal, queryCount: 2, keyCount: 2) == ["x.", "xx"])
        #expect(picture(causal | .none, queryCount: 2, keyCount: 2) == ["xx", "xx"])
    }

    @Test(arguments: MaskKind.allCases)
    func `a tile is never called empty or full against the definition`(kind: MaskKind) {
        let mask = kind.mask(for: sizes)
        guard let rule = mask.rule else { return }
        for batch in 0..<3 {
            for head in 0..<2 {
                for queries in [0..<1, 0..<4, 3..<9, 10..<11, 0..<11] {
                    for keys in [0..<1, 0..<5, 4..<6, 3..<13, 12..<13, 0..<13] {
                        let visible = queries.flatMap { query in
                            keys.map { rule.allows(batch: batch, head: head, query: query, key: $0) }
                        }
                        let tile = MaskTile(batch: batch, head: head, queries: queries, keys: keys)
                        switch rule.coverage(of: tile) {
                        case .empty: #expect(!visible.contains(true), "\(tile)")
                        case .full: #expect(!visible.contains(false), "\(tile)")
                        case .partial: continue
                        }
                    }
                }
            }
        }
    }

    @Test(arguments: MaskKind.allCases)
    func `rows are filled as the definition says`(kind: MaskKind) {
        guard let rule = kind.mask(for: sizes).rule else { return }
        for batch in 0..<3 {
            for query in 0..<11 {
                for keys in [0..<13, 0..<1, 5..<9, 12..<13, 4..<4] {
                    // What the memory held before must not matter.
                    var row = keys.map { $0 % 2 == 0 }
                    row.withUnsafeMutableBufferPointer {
                        rule.fill($0, batch: batch, head: 1, query: query, keys: keys)
                    }
                    #expect(row == keys.map { rule.allows(batch: batch, head: 1, query: query, key: $0) })
                }
            }
        }
    }

    @Test func `offsets beyond any position overflow nothing`() {
        let x = Tensor(zeros: [1, 1, 3, 2])
        let everything = attention(queries: x, keys: x, values: x).floats
        #expect(attention(queries: x, keys: x, values: x, mask: .causal(offset: .max)).floats == everything)
        #expect(
            attention(queries: x, keys: x, values: x, mask: .slidingWindow(left: .max, right: .max, offset: .max))
                .floats == everything)
        let hidden = AttentionOperation(mask: .causal(offset: .min))(
            queries: x, keys: x, values: x, returning: AttentionRequest(logSumExp: true))
        #expect(hidden.logSumExp?.floats == [-.infinity, -.infinity, -.infinity])
    }
}
