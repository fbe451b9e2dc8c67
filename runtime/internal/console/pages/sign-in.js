// Signs a browser in by cookies that no script reads, and goes where it came from.
const session = "/api/v1/auth/session";
const form = document.getElementById("sign-in");
const trouble = document.getElementById("trouble");

// Only a path of this store's console, never another site.
function next() {
  const wanted = new URLSearchParams(location.search).get("next") ?? "";
  return /^\/admin\/[\w\/.-]*$/.test(wanted) ? wanted : "/admin/jobs/";
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  trouble.textContent = "";
  const body = JSON.stringify(Object.fromEntries(new FormData(form)));
  try {
    const answer = await fetch(session, { method: "POST", headers: { "Content-Type": "application/json" }, body });
    if (answer.ok) {
      location.replace(next());
    } else {
      trouble.textContent = (await answer.json()).detail ?? "That did not work.";
    }
  } catch {
    trouble.textContent = "The store does not answer. Please try again.";
  }
});

// Whose access lapsed while they were away need not type again.
fetch(session, { method: "PUT" }).then((answer) => answer.ok && location.replace(next()), () => {});
