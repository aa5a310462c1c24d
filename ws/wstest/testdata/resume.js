// Both ends send numbers: what comes is checked for order. It runs in pages and in Node.
async function exchange(connect, url, messages, options = {}) {
	const problems = [];
	let next = 0, room, resolveAll, resumes = 0;
	const all = new Promise((resolve) => { resolveAll = resolve; });
	const session = connect(url, {
		...options, minBackoff: 5, maxBackoff: 50, ackDelay: 5,
		onmessage: (bytes) => {
			const text = new TextDecoder().decode(bytes), n = Number(text.split(" ")[0]);
			if (n !== next) problems.push(`received ${n} in the place of ${next}`);
			if (++next === messages) resolveAll();
		},
		onstate: (state) => { resumes += state === "detached"; },
	});
	const over = session.ended;
	for (let i = 0; i < messages; i++) {
		while (session.state !== "closed") {
			try {
				session.send(`${i} ${"x".repeat(i % 97 * 6)}`);
				break;
			} catch (error) {
				if (!(error instanceof RangeError)) throw error;
				await new Promise((resolve) => setTimeout(resolve, 2));
			}
		}
		if (i % 50 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
	}
	await Promise.race([all, over]);
	if (next < messages) problems.push(`received ${next}`);
	const end = await session.shutdown();
	if (end.message !== "closed" || end.unacknowledged !== 0) problems.push(`shut down with ${end.message}, ${end.unacknowledged}`);
	return { problems, resumes };
}
